// google.rpc codes, as they come and go in ttrpc responses.
import { CricketError, type ErrorCode } from "../../base/errors.ts";

const codes: Partial<Record<ErrorCode, number>> = {
  cancelled: 1,
  unknown: 2,
  "invalid-argument": 3,
  "deadline-exceeded": 4,
  "not-found": 5,
  "already-exists": 6,
  "permission-denied": 7,
  "resource-exhausted": 8,
  "failed-precondition": 9,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
};

export function statusOf(code: ErrorCode): number {
  return codes[code] ?? 2;
}

/** What the other side answered in place of a result. The connection is as good as before. */
export class RemoteError extends CricketError {
  constructor(status: number, message: string) {
    const entry = Object.entries(codes).find(([, number]) => number === status);
    super((entry?.[0] as ErrorCode | undefined) ?? "unknown", message);
    this.name = "RemoteError";
  }
}
