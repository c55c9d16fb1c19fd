// Quantities as Kubernetes writes them (apimachinery, resource.Quantity).
const decimalExponents: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  "": 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const binaryExponents: Readonly<Record<string, number>> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };

/**
 * A resource quantity of Kubernetes ("10M", "1.5Gi", "1e6") in whole units, rounded up as Kubernetes does; undefined
 * for other text. Negative quantities are no quantities here.
 */
export function tryParseQuantity(text: string): bigint | undefined {
  const match = /^\+?(\d{1,30})?(?:\.(\d{0,18}))?(?:[eE]([+-]?\d{1,2})|([A-Za-z]{0,2}))$/.exec(text);
  if (match === null || (match[1] ?? "") + (match[2] ?? "") === "") return undefined;
  const fraction = match[2] ?? "";
  const digits = BigInt(`${match[1] ?? ""}${fraction}`);
  const suffix = match[4] ?? "";
  const binary = binaryExponents[suffix];
  if (binary !== undefined) return divideUp(digits << BigInt(binary), fraction.length);
  const decimal = match[3] === undefined ? decimalExponents[suffix] : Number(match[3]);
  if (decimal === undefined) return undefined;
  const exponent = decimal - fraction.length;
  return exponent >= 0 ? digits * 10n ** BigInt(exponent) : divideUp(digits, -exponent);
}

function divideUp(value: bigint, decimals: number): bigint {
  const divisor = 10n ** BigInt(decimals);
  return (value + divisor - 1n) / divisor;
}
