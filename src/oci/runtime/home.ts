// HOME: the user's directory in the container's passwd, where the spec does not set it. Engines leave this to their runtime.
import { openSync } from "node:fs";
import { AccountFile } from "../../linux/account-file.ts";
import { close, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../../linux/files.ts";
import type { Process } from "../spec.ts";

/** The environment of a process as bytes; `root` is a path of the container's root on the host. */
export function environmentOf({ env = [], user }: Process, root: string): Buffer[] {
  // Of a name that is set twice the last counts: getenv(3) would find the first.
  const lines = new Map(env.map((line) => [line.split("=", 1)[0] ?? "", line]));
  if ((lines.get("HOME") ?? "HOME=") === "HOME=") lines.set("HOME", `HOME=${homeOf(user.uid, root)}`);
  return [...lines.values()].map((line) => Buffer.from(line));
}

// A root or a passwd that cannot be read is none: whether the launch goes on is not decided here.
function homeOf(uid: number, root: string): string {
  try {
    return findHome(uid, openSync(root, O_PATH | O_DIRECTORY | O_CLOEXEC));
  } catch {
    return "/";
  }
}

function findHome(uid: number, rootFd: number): string {
  try {
    using passwd = AccountFile.open(rootFd, "etc/passwd");
    const home = passwd.find(([, , id = "", , , directory = ""]) =>
      id === String(uid) ? directory : undefined,
    );
    return home?.startsWith("/") === true ? home : "/";
  } finally {
    close(rootFd);
  }
}
