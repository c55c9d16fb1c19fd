// Bandwidth limits of a pod, from the annotations Kubernetes defines for them.
import { invalidArgument } from "../../base/errors.ts";

export interface BandwidthLimits {
  /** Bits a second and bits, towards the pod. */
  ingressRate?: number;
  ingressBurst?: number;
  /** Away from the pod. */
  egressRate?: number;
  egressBurst?: number;
}

const ingressAnnotation = "kubernetes.io/ingress-bandwidth";
const egressAnnotation = "kubernetes.io/egress-bandwidth";

// Without a burst the bandwidth plugin lets nothing through; this is what other runtimes give it.
const burstBits = 2 ** 31 - 1;
// The range Kubernetes' own validation allows: 1k to 1P.
const leastRate = 1_000n;
const highestRate = 1_000_000_000_000_000n;

/** Undefined where no limit is asked for. @throws invalid-argument that names the annotation */
export function bandwidthOf(annotations: Readonly<Record<string, string>>): BandwidthLimits | undefined {
  const ingressRate = rateOf(annotations, ingressAnnotation);
  const egressRate = rateOf(annotations, egressAnnotation);
  if (ingressRate === undefined && egressRate === undefined) return undefined;
  return {
    ...(ingressRate === undefined ? {} : { ingressRate, ingressBurst: burstBits }),
    ...(egressRate === undefined ? {} : { egressRate, egressBurst: burstBits }),
  };
}

function rateOf(annotations: Readonly<Record<string, string>>, name: string): number | undefined {
  const text = annotations[name];
  if (text === undefined) return undefined;
  const rate = tryParseQuantity(text);
  if (rate === undefined || rate < leastRate || rate > highestRate)
    throw invalidArgument(
      `annotation ${name} is ${JSON.stringify(text.slice(0, 64))}: not a quantity from 1k to 1P`,
    );
  return Number(rate);
}

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
