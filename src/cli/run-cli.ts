// argv -> command -> exit status. Commands are loaded only when they are run: `cricket version` needs no gRPC.
import {
  ExitError,
  exitStatus,
  helpOf,
  Interrupted,
  parseCommandLine,
  UsageError,
  type Command,
  type Surroundings,
} from "./command.ts";
import { packageVersion } from "./package-version.ts";

interface Entry {
  summary: string;
  load: () => Promise<Command>;
}

const commands: Readonly<Record<string, Entry>> = {
  run: entry(
    "run a command in a new container and show its output",
    async () => (await import("./run.ts")).run,
  ),
  pull: entry("pull an image", async () => (await import("./pull.ts")).pull),
  images: entry("list images", async () => (await import("./images.ts")).images),
  rmi: entry("remove images", async () => (await import("./rmi.ts")).rmi),
  pods: entry("list pod sandboxes", async () => (await import("./pods.ts")).pods),
  ps: entry("list containers", async () => (await import("./ps.ts")).ps),
  logs: entry("show the log of a container", async () => (await import("./logs.ts")).logs),
  exec: entry("run a command in a running container", async () => (await import("./exec.ts")).exec),
  attach: entry(
    "connect to the streams of a running container's program",
    async () => (await import("./attach.ts")).attach,
  ),
  "port-forward": entry(
    "forward local ports to ports of a pod",
    async () => (await import("./port-forward.ts")).portForward,
  ),
  inspect: entry(
    "show all about containers, pods and images",
    async () => (await import("./inspect.ts")).inspect,
  ),
  stop: entry("stop containers and pods", async () => (await import("./stop.ts")).stop),
  rm: entry("remove containers and pods", async () => (await import("./rm.ts")).rm),
  stats: entry("show what containers use", async () => (await import("./stats.ts")).stats),
  unpack: entry("make an OCI bundle of an image", async () => (await import("./unpack.ts")).unpack),
  explain: entry(
    "print how a container is launched, step by step",
    async () => (await import("./explain.ts")).explain,
  ),
};

function entry(summary: string, load: () => Promise<unknown>): Entry {
  return { summary, load: load as () => Promise<Command> };
}

const plain: Readonly<Record<string, string>> = {
  daemon: "serve the Container Runtime Interface",
  config: "check the daemon's configuration and print all of it",
  oci: "run OCI bundles, with the command line of an OCI runtime",
  version: "print the version",
  help: "show this help, or that of a command",
};

/** Runs one command; never rejects. */
export async function runCli(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const [name = "help", ...rest] = argv;
  try {
    return await dispatch(name, rest, surroundings);
  } catch (error) {
    return report(name, error, surroundings);
  }
}

async function dispatch(name: string, rest: readonly string[], surroundings: Surroundings): Promise<number> {
  if (name === "help" || name === "--help" || name === "-h") return help(rest[0], surroundings);
  if (name === "version" || name === "--version") return version(surroundings);
  if (name === "daemon") return daemon(rest, surroundings);
  if (name === "config") return config(rest, surroundings);
  const command = await load(name);
  const { options, operands } = parseCommandLine(command, rest);
  if (options["help"] === true) {
    surroundings.stdout(helpOf(name, command));
    return exitStatus.ok;
  }
  return command.run({ options: options as never, operands, surroundings });
}

async function load(name: string): Promise<Command> {
  const found = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (found === undefined) throw new UsageError("no such command");
  return found.load();
}

async function help(name: string | undefined, { stdout }: Surroundings): Promise<number> {
  if (name !== undefined && !Object.hasOwn(plain, name)) {
    stdout(helpOf(name, await load(name)));
    return exitStatus.ok;
  }
  const summaries = Object.entries(commands).map(([key, { summary }]) => [key, summary] as const);
  const [ofDaemon, others] = [Object.entries(plain).slice(0, 2), Object.entries(plain).slice(2)];
  const lines = [...ofDaemon, ...summaries, ...others];
  const list = lines.map(([key, summary]) => `  ${key.padEnd(14)}${summary}\n`).join("");
  stdout(`usage: cricket COMMAND [OPTION...]\n\n${list}\n\`cricket COMMAND --help\` tells more.\n`);
  return exitStatus.ok;
}

function version({ stdout }: Surroundings): number {
  stdout(`cricket ${packageVersion()} (CRI v1, Node ${process.versions.node})\n`);
  return exitStatus.ok;
}

async function daemon(argv: readonly string[], { stdout }: Surroundings): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    const { configFlagsHelp } = await import("../config/load-config.ts");
    stdout(`usage: cricket daemon [OPTION...]\n\n${plain["daemon"] ?? ""}\n\noptions:\n${configFlagsHelp}\n`);
    return exitStatus.ok;
  }
  const { runDaemon } = await import("../daemon.ts");
  return runDaemon(argv);
}

/** As TOML that can be read back, after the files it comes from. @throws CricketError for a wrong one */
async function config(argv: readonly string[], { stdout, env }: Surroundings): Promise<number> {
  const { configFlagsHelp, describeConfig, loadConfig } = await import("../config/load-config.ts");
  if (argv.includes("--help") || argv.includes("-h")) {
    stdout(`usage: cricket config [OPTION...]\n\n${plain["config"] ?? ""}\n\noptions:\n${configFlagsHelp}\n`);
    return exitStatus.ok;
  }
  const { config: loaded, files } = loadConfig({ argv, env });
  const settings = Object.entries(describeConfig(loaded)).map(([key, value]) => `${key} = ${value}\n`);
  stdout([...files.map((file) => `# ${file}\n`), ...settings].join(""));
  return exitStatus.ok;
}

/** One line on standard error, and the status that goes with it. */
function report(name: string, error: unknown, { stderr }: Surroundings): number {
  if (error instanceof Interrupted) return error.exitStatus;
  const message = oneLine(error instanceof Error ? error.message : String(error));
  if (error instanceof UsageError) {
    const hint = Object.hasOwn(commands, name) ? `cricket ${name} --help` : "cricket help";
    stderr(`cricket: ${name}: ${message} (see \`${hint}\`)\n`);
    return exitStatus.usage;
  }
  stderr(`cricket: ${name}: ${message}\n`);
  return error instanceof ExitError ? error.exitStatus : exitStatus.failure;
}

// Texts come from registries and images: what they contain must not move the cursor or clear the screen.
function oneLine(message: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return message.replace(/\s*\n\s*/g, "; ").replace(/[\u0000-\u001f\u007f]/g, "?");
}
