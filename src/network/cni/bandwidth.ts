// Bandwidth limits of a pod, from the annotations Kubernetes defines for them.
import { invalidArgument } from "../../base/errors.ts";
import { tryParseQuantity } from "../../base/quantity.ts";

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
