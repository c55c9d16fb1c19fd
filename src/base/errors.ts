// The one error class of the project and its codes. Errors are thrown with a code low down, wrapped with
// `cause` on the way up, and mapped to gRPC in cri/call.ts only.

/** What went wrong, in the caller's terms. Each code maps to one gRPC status (see cri/call.ts). */
export type ErrorCode =
  | "invalid-argument"
  | "not-found"
  | "already-exists"
  | "failed-precondition"
  | "unavailable"
  | "deadline-exceeded"
  | "cancelled"
  | "resource-exhausted"
  | "permission-denied"
  | "unimplemented"
  | "unknown"
  | "internal";

/**
 * An expected failure. `message` is lower case, without a final period, and names the object and, where there
 * is one, the syscall: `mount overlay on /run/x: ENOSPC`.
 */
export class CricketError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "CricketError";
    this.code = code;
  }
}

/** A failed system call: `errno` is the name ("ENOENT"), `syscall` the call, `path` its object where it has one. */
export class SyscallError extends CricketError {
  readonly syscall: string;
  readonly errno: string;
  readonly path: string | undefined;

  constructor(syscall: string, errno: string, path?: string) {
    super(codeOfErrno(errno), path === undefined ? `${syscall}: ${errno}` : `${syscall} ${path}: ${errno}`);
    this.name = "SyscallError";
    this.syscall = syscall;
    this.errno = errno;
    this.path = path;
  }
}

/** A launch program that stopped at a step, as the C executor reported it. */
export class LaunchError extends CricketError {
  readonly step: string;
  readonly errno: string;

  constructor(message: string, step: string, errno: string) {
    super(codeOfErrno(errno), message);
    this.name = "LaunchError";
    this.step = step;
    this.errno = errno;
  }
}

const exhausted = new Set(["ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "E2BIG"]);

function codeOfErrno(errno: string): ErrorCode {
  return exhausted.has(errno) ? "resource-exhausted" : "internal";
}

/** The errno name of a failed syscall, whether it came from koffi or from node:fs; undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof SyscallError || error instanceof LaunchError) return error.errno;
  if (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    /^E[A-Z0-9]+$/.test(error.code)
  )
    return error.code;
  return undefined;
}

/** True when `error` is an expected failure with this code. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof CricketError && error.code === code;
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Adds what was being done to an error and keeps its code: `wrapError("pull busybox:1", error)` reads
 * `pull busybox:1: <message>`. Anything that is not a CricketError becomes `internal`, or the errno's code.
 */
export function wrapError(doing: string, error: unknown): CricketError {
  const errno = errnoOf(error);
  let code: ErrorCode = errno === undefined ? "internal" : codeOfErrno(errno);
  if (error instanceof CricketError) code = error.code;
  return new CricketError(code, `${doing}: ${messageOf(error)}`, { cause: error });
}

export const invalidArgument = (message: string): CricketError =>
  new CricketError("invalid-argument", message);
export const notFound = (message: string): CricketError => new CricketError("not-found", message);
export const failedPrecondition = (message: string): CricketError =>
  new CricketError("failed-precondition", message);
