// The command line of another OCI runtime, as runc and crun share it.
import { join } from "node:path";
import type { LaunchProgram } from "../../linux/launch-program.ts";

/** One configured runtime. */
export interface RuntimeCommand {
  /** The handler's name, for messages. */
  name: string;
  /** Absolute path of the executable. */
  path: string;
  /** Where the runtime keeps its state (--root). */
  root: string;
  /** Of each invocation. */
  timeoutMs: number;
  /** cgroupsPath is systemd's form, and the runtime makes the scope. */
  systemdCgroup?: boolean;
}

/** Files of one invocation; a directory of its own, or the container's for its creation. */
export interface InvocationFiles {
  directory: string;
  log: string;
  /** The names that the adopting host expects in its directory (pause/adopt.c). */
  pid: string;
}

export function invocationFiles(directory: string): InvocationFiles {
  return { directory, log: join(directory, "runtime.log"), pid: join(directory, "pid") };
}

/** A name alone, below the runtime's working directory: the path of a unix socket has room for 107 bytes. */
const consoleSocket = "console.sock";

function globalArgs(command: RuntimeCommand, log: string): string[] {
  const systemd = command.systemdCgroup === true ? ["--systemd-cgroup"] : [];
  return [command.path, "--root", command.root, "--log", log, "--log-format", "json", ...systemd];
}

export interface CreateInvocation {
  id: string;
  /** The bundle. */
  files: InvocationFiles;
  terminal: boolean;
}

export function createArgs(command: RuntimeCommand, { id, files, terminal }: CreateInvocation): string[] {
  return [
    ...globalArgs(command, files.log),
    "create",
    "--bundle",
    files.directory,
    "--pid-file",
    files.pid,
    ...(terminal ? ["--console-socket", consoleSocket] : []),
    id,
  ];
}

export interface ExecInvocation {
  id: string;
  files: InvocationFiles;
  /** A file with the OCI process. */
  process: string;
  terminal: boolean;
}

export function execArgs(
  command: RuntimeCommand,
  { id, files, process, terminal }: ExecInvocation,
): string[] {
  return [
    ...globalArgs(command, files.log),
    "exec",
    "--detach",
    "--process",
    process,
    "--pid-file",
    files.pid,
    ...(terminal ? ["--tty", "--console-socket", consoleSocket] : []),
    id,
  ];
}

/** A verb whose end is waited for: start, kill, delete, update, state. */
export function verbArgs(command: RuntimeCommand, log: string, verb: readonly string[]): string[] {
  return [...globalArgs(command, log), ...verb];
}

/** What runtimes look for in their environment, and nothing of the daemon's. */
export const runtimeEnvironment: readonly string[] = [
  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  "LC_ALL=C",
];

const SIGKILL = 9;

/** The program of a host that adopts (pause/adopt.c): the runtime, which dies with its host. */
export function compileInvocation(argv: readonly string[]): LaunchProgram {
  return {
    steps: [
      { op: "fork", flags: 0, because: { why: "the runtime, of which the host stays the parent" } },
      { op: "newSession", because: { why: "what it starts can be ended with it", source: "man 2 setsid" } },
      {
        op: "parentDeathSignal",
        signal: SIGKILL,
        because: {
          why: "a runtime without its host makes a container that nobody takes",
          source: "man 2 prctl",
        },
      },
      {
        op: "exec",
        argv: [...argv],
        env: runtimeEnvironment.map((line) => Buffer.from(line)),
        because: { why: "the runtime makes the process, names its pid and ends", source: "runc(8)" },
      },
    ],
  };
}
