// Errors of pulls, in the form the kubelet reads.
import { CricketError, messageOf, wrapError } from "../base/errors.ts";

/**
 * kubelet looks for these at the start of the message, and sees the start only when the gRPC code is Unknown
 * (cri-client remote_image.go strips "rpc error: code = ..." for that code alone).
 */
const kubeletPrefixes = ["RegistryUnavailable", "SignatureValidationFailed"];

/** The registry cannot be reached, does not answer or fails: another try later may succeed. */
export function registryUnavailable(message: string, cause?: unknown): CricketError {
  return new CricketError("unknown", `RegistryUnavailable: ${message}`, cause === undefined ? {} : { cause });
}

export function isRegistryUnavailable(error: unknown): boolean {
  return error instanceof CricketError && error.message.startsWith("RegistryUnavailable");
}

/** wrapError that keeps the kubelet's prefixes where the kubelet looks for them. */
export function wrapPullError(doing: string, error: unknown): CricketError {
  const message = messageOf(error);
  const prefix = kubeletPrefixes.find((candidate) => message.startsWith(`${candidate}: `));
  if (prefix === undefined) return wrapError(doing, error);
  return new CricketError("unknown", `${prefix}: ${doing}: ${message.slice(prefix.length + 2)}`, {
    cause: error,
  });
}

/** What an aborted pull fails with: the reason given if it is one of ours, else "cancelled". */
export function abortedError(signal: AbortSignal): CricketError {
  if (signal.reason instanceof CricketError) return signal.reason;
  const timedOut = signal.reason instanceof Error && signal.reason.name === "TimeoutError";
  return timedOut
    ? new CricketError("deadline-exceeded", "the deadline passed", { cause: signal.reason })
    : new CricketError("cancelled", "the caller gave up", { cause: signal.reason });
}

export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw abortedError(signal);
}

/** Takes secrets out of a text that a registry had a hand in: it may repeat what it was sent. */
export function redact(text: string, secrets: readonly string[]): string {
  return secrets.reduce(
    (result, secret) => (secret === "" ? result : result.replaceAll(secret, "***")),
    text,
  );
}
