import { createContainer, type CreateOptions } from "../../oci/runtime/create.ts";
import { countOf, type FlagTable, type ParsedFlags } from "./flags.ts";
import type { Verb } from "./verb.ts";

/** Shared by create and run. */
export const createFlags: FlagTable = {
  bundle: {
    short: "b",
    takes: "text",
    value: "DIR",
    help: "where config.json and the root filesystem are (.)",
  },
  "console-socket": { takes: "text", value: "SOCKET", help: "unix socket that receives the terminal" },
  "pidfd-socket": {
    takes: "text",
    value: "SOCKET",
    help: "unix socket that receives a pidfd of the process",
  },
  "pid-file": { takes: "text", value: "FILE", help: "where the pid is written" },
  "preserve-fds": {
    takes: "text",
    value: "N",
    help: "so many descriptors from 3 on are given to the container",
  },
  "no-pivot": { help: "the root is moved in place of pivot_root: for a host whose root is an initramfs" },
  "no-new-keyring": { help: "the container keeps the session keyring of the caller" },
};

export function createOptions(id: string, flags: ParsedFlags, keepsTerminal: boolean): CreateOptions {
  const listenFds = passedSockets();
  return {
    id,
    bundle: flags.texts.get("bundle") ?? ".",
    pidFile: flags.texts.get("pid-file"),
    consoleSocket: flags.texts.get("console-socket"),
    pidfdSocket: flags.texts.get("pidfd-socket"),
    preserveFds: countOf(flags, "preserve-fds"),
    listenFds,
    noPivot: flags.switches.has("no-pivot"),
    noNewKeyring: flags.switches.has("no-new-keyring"),
    keepsTerminal,
  };
}

/** systemd's protocol: what a service manager passed is for the container, too (sd_listen_fds(3)). */
function passedSockets(): number {
  if (process.env["LISTEN_PID"] !== String(process.pid)) return 0;
  const count = process.env["LISTEN_FDS"] ?? "";
  return /^\d{1,4}$/.test(count) ? Number(count) : 0;
}

export const create: Verb = {
  operands: "CONTAINER",
  summary: "make a container; its program waits for `start`",
  flags: createFlags,
  arity: [1, 1],
  failure: "create failed",
  async run({ runtime, flags, operands, warn }) {
    const created = await createContainer(runtime, createOptions(operands[0] ?? "", flags, false));
    created.warnings.forEach(warn);
    return 0;
  },
};
