// Quantities as Kubernetes writes them (apimachinery, resource.Quantity): "60M", "1.5Gi", "2e3".
const decimal: Readonly<Record<string, number>> = {
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
const binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

const pattern = /^\+?(\d{1,40})?(?:\.(\d{0,40}))?(?:[eE]([+-]?\d{1,2})|([KMGTPE]i|[numkMGTPE]?))$/;

/** Rounded up to a whole number, as Quantity.Value() does; undefined for what is none, negative, or beyond an int64. */
export function parseQuantity(text: string): bigint | undefined {
  const [, whole = "", fraction = "", exponent, suffix = ""] = pattern.exec(text) ?? [];
  if (whole + fraction === "") return undefined;
  const power = exponent === undefined ? (decimal[suffix] ?? 0) : Number(exponent);
  const factor = 1024n ** BigInt(binary.indexOf(suffix) + 1);
  const [up, down] = [Math.max(power, 0), Math.max(-power, 0) + fraction.length];
  const numerator = BigInt(whole + fraction) * factor * 10n ** BigInt(up);
  const denominator = 10n ** BigInt(down);
  const rounded = (numerator + denominator - 1n) / denominator;
  return rounded < 1n << 63n ? rounded : undefined;
}
