import type { SubCgroups } from "../../linux/cgroup/cgroup-join.ts";
import { becomeSubreaper } from "../../linux/reap.ts";
import { execInContainer } from "../../oci/runtime/exec.ts";
import { relayTerminal } from "../../oci/runtime/relay-terminal.ts";
import { forwardSignals, waitForProcess } from "../../oci/runtime/wait-process.ts";
import { UsageError } from "../command.ts";
import { countOf } from "./flags.ts";
import type { Verb } from "./verb.ts";

/** As runc's: a program of its own may well end with 1. */
const failureStatus = 255;

export const exec: Verb = {
  operands: "CONTAINER COMMAND [ARG...]",
  summary: "run a program in a container",
  flags: {
    process: { short: "p", takes: "text", value: "FILE", help: "the process to run, as in config.json" },
    "console-socket": { takes: "text", value: "SOCKET", help: "unix socket that receives the terminal" },
    "pidfd-socket": {
      takes: "text",
      value: "SOCKET",
      help: "unix socket that receives a pidfd of the process",
    },
    "pid-file": { takes: "text", value: "FILE", help: "where the pid is written" },
    cwd: { takes: "text", value: "DIR", help: "working directory in the container" },
    env: { short: "e", takes: "list", value: "NAME=VALUE", help: "an environment variable more" },
    tty: { short: "t", help: "with a terminal" },
    user: { short: "u", takes: "text", value: "UID[:GID]", help: "user and group" },
    "additional-gids": { short: "g", takes: "list", value: "GID", help: "a group more" },
    cap: { short: "c", takes: "list", value: "CAPABILITY", help: "a capability more" },
    "no-new-privs": { help: "nothing it runs gains privileges" },
    apparmor: { takes: "text", value: "PROFILE", help: "AppArmor profile" },
    "process-label": { takes: "text", value: "LABEL", help: "SELinux label" },
    cgroup: { takes: "list", value: "PATH", help: "cgroup below that of the container" },
    "ignore-paused": { help: "wait in a paused container until it resumes" },
    "preserve-fds": {
      takes: "text",
      value: "N",
      help: "so many descriptors from 3 on are given to the process",
    },
    detach: { short: "d", help: "return when it runs" },
  },
  arity: [1, Infinity],
  passesRest: true,
  failure: "exec failed",
  failureStatus,
  async run({ runtime, flags, operands, warn }) {
    const [id = "", ...args] = operands;
    const { switches, texts, lists } = flags;
    const detached = switches.has("detach");
    if (!detached) becomeSubreaper();
    const { pid, pidfd, pty, warnings } = await execInContainer(runtime, {
      id,
      args,
      processFile: texts.get("process"),
      cwd: texts.get("cwd"),
      env: lists.get("env") ?? [],
      user: texts.get("user"),
      additionalGids: lists.get("additional-gids") ?? [],
      capabilities: lists.get("cap") ?? [],
      tty: switches.has("tty"),
      noNewPrivs: switches.has("no-new-privs"),
      apparmor: texts.get("apparmor"),
      selinuxLabel: texts.get("process-label"),
      cgroups: cgroupsOf(lists.get("cgroup")),
      ignorePaused: switches.has("ignore-paused"),
      preserveFds: countOf(flags, "preserve-fds"),
      pidFile: texts.get("pid-file"),
      consoleSocket: texts.get("console-socket"),
      pidfdSocket: texts.get("pidfd-socket"),
      keepsTerminal: !detached,
    });
    warnings.forEach(warn);
    if (detached) return 0;
    const signals = forwardSignals(pidfd);
    const terminal = pty === undefined ? undefined : relayTerminal(pty);
    try {
      return await waitForProcess(pid, pidfd);
    } finally {
      await terminal?.end();
      signals.stop();
    }
  },
};

/** As with runc: PATH for all hierarchies, or CONTROLLER[,CONTROLLER...]:PATH for some, which may be repeated. */
function cgroupsOf(given: readonly string[] = []): SubCgroups {
  const byController = new Map<string, string>();
  let all = "";
  for (const text of given) {
    const [, controllers, path = ""] = /^(?:([^:]*):)?([^:]*)$/.exec(text) ?? [];
    if (path === "" || controllers === "") throw new UsageError(`--cgroup ${text}: not [CONTROLLER:]PATH`);
    if (controllers === undefined) {
      if (given.length > 1) throw new UsageError("--cgroup PATH is for all controllers, and stands alone");
      all = path;
    }
    for (const controller of controllers?.split(",") ?? []) byController.set(controller, path);
  }
  return { all, byController };
}
