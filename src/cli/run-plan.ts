// The options of `cricket run` as the pod and the container they ask for. No I/O.
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { UsageError, type OptionTable, type OptionValues } from "./command.ts";
import { runLabel } from "./kept-logs.ts";
import { durationMs, wholeSeconds } from "./duration.ts";

export const runOptions = {
  name: { short: "n", value: "NAME", about: "name of the pod and the container (default: made up)" },
  env: { short: "e", value: "KEY[=VALUE]", multiple: true, about: "environment; without a value: yours" },
  volume: {
    short: "v",
    value: "HOST:CONTAINER[:ro]",
    multiple: true,
    about: "mount a file or directory of the host",
  },
  workdir: { short: "w", value: "DIR", about: "working directory" },
  user: { short: "u", value: "USER[:GROUP]", about: "user name, or ids" },
  entrypoint: { value: "PROGRAM", about: "in the place of the image's entrypoint" },
  hostname: { value: "NAME", about: "host name of the pod" },
  "host-network": { about: "use the network of the host" },
  publish: {
    short: "p",
    value: "[IP:]HOST:CONTAINER[/udp]",
    multiple: true,
    about: "open a port on the host",
  },
  memory: { short: "m", value: "SIZE", about: "memory limit, such as 64m" },
  cpus: { value: "NUMBER", about: "CPU limit, such as 0.5" },
  privileged: { about: "all capabilities, all devices" },
  "read-only": { about: "read-only root filesystem" },
  pull: { value: "WHEN", about: "missing (default), always or never" },
  interactive: { short: "i", about: "pass your input on; with -d: keep it open for attach" },
  tty: { short: "t", about: "give the program a terminal" },
  timeout: { value: "DURATION", about: "stop the container after this time; exit status 124" },
  "stop-timeout": { value: "SECONDS", about: "between the stop signal and SIGKILL (default 5)" },
  detach: { short: "d", about: "print the container's id and leave it running" },
  keep: { about: "do not remove the pod in the end" },
  rm: { about: "remove the pod in the end (the default)" },
  quiet: { short: "q", about: "no progress bars" },
} as const satisfies OptionTable;

export interface RunPlan {
  image: string;
  pull: "missing" | "always" | "never";
  sandbox: v1.PodSandboxConfigSent;
  /** Without image.image: that is the id, known after the pull. */
  container: v1.ContainerConfigSent;
  timeoutMs: number | undefined;
  stopTimeoutSeconds: number;
  /** Its streams are those of the caller, and not what the log says. */
  attached: { stdin: boolean; tty: boolean } | undefined;
  detach: boolean;
  keep: boolean;
  quiet: boolean;
}

export interface RunSurroundings {
  env: Readonly<Record<string, string | undefined>>;
  workingDirectory: string;
}

/** @throws UsageError */
export function planRun(
  options: OptionValues<typeof runOptions>,
  operands: readonly string[],
  { env, workingDirectory }: RunSurroundings,
): RunPlan {
  const [image = "", ...args] = operands;
  if (image === "") throw new UsageError("the image is empty");
  if (options.rm && options.keep) throw new UsageError("--rm and --keep contradict each other");
  const name = options.name ?? `run-${randomBytes(4).toString("hex")}`;
  // It becomes a host name and a part of file names.
  if (!/^[A-Za-z0-9][\w.-]{0,62}$/.test(name))
    throw new UsageError(
      `--name ${JSON.stringify(name)} is not made of at most 63 letters, digits, ".", "_" and "-"`,
    );
  return {
    image,
    pull: pullPolicy(options.pull),
    sandbox: planSandbox(options, name),
    container: planContainer(options, { name, image, args, env, workingDirectory }),
    timeoutMs: options.timeout === undefined ? undefined : durationMs(options.timeout, "--timeout"),
    stopTimeoutSeconds: wholeSeconds(options["stop-timeout"] ?? "5", "--stop-timeout"),
    attached: attachedStreams(options),
    detach: options.detach,
    keep: options.keep || options.detach,
    quiet: options.quiet,
  };
}

function attachedStreams({ interactive, tty, detach }: Options): RunPlan["attached"] {
  if (detach || !(interactive || tty)) return undefined;
  return { stdin: interactive, tty };
}

function pullPolicy(text: string | undefined): RunPlan["pull"] {
  if (text === undefined || text === "missing") return "missing";
  if (text === "always" || text === "never") return text;
  throw new UsageError(`--pull ${JSON.stringify(text)} is none of missing, always, never`);
}

type Options = OptionValues<typeof runOptions>;

function planSandbox(options: Options, name: string): v1.PodSandboxConfigSent {
  const { POD, NODE } = v1.NamespaceMode;
  return {
    metadata: { name, namespace: "default", uid: randomBytes(16).toString("hex"), attempt: 0 },
    hostname: options.hostname ?? (options["host-network"] ? "" : name),
    labels: { [runLabel]: name },
    portMappings: options.publish.map(parsePort),
    linux: {
      securityContext: {
        namespaceOptions: { network: options["host-network"] ? NODE : POD, pid: v1.NamespaceMode.CONTAINER },
        privileged: options.privileged,
      },
    },
  };
}

interface ContainerPlan extends RunSurroundings {
  name: string;
  image: string;
  args: readonly string[];
}

function planContainer(options: Options, plan: ContainerPlan): v1.ContainerConfigSent {
  return {
    metadata: { name: plan.name, attempt: 0 },
    image: { userSpecifiedImage: plan.image },
    command: options.entrypoint === undefined ? [] : [options.entrypoint],
    args: plan.args,
    workingDir: options.workdir ?? "",
    envs: options.env.flatMap((text) => parseEnv(text, plan.env)),
    mounts: options.volume.map((text) => parseVolume(text, plan.workingDirectory)),
    labels: { [runLabel]: plan.name },
    logPath: `${plan.name}.log`,
    tty: options.tty,
    stdin: options.interactive,
    // Whoever attaches later is not the last one.
    stdinOnce: options.interactive && !options.detach,
    linux: {
      resources: {
        ...(options.memory === undefined ? {} : { memoryLimitInBytes: toInt64(parseSize(options.memory)) }),
        ...(options.cpus === undefined ? {} : parseCpus(options.cpus)),
      },
      securityContext: {
        namespaceOptions: {
          network: options["host-network"] ? v1.NamespaceMode.NODE : v1.NamespaceMode.POD,
          pid: v1.NamespaceMode.CONTAINER,
        },
        privileged: options.privileged,
        readonlyRootfs: options["read-only"],
        ...(options.privileged
          ? {}
          : { seccomp: { profileType: v1.SecurityProfile.ProfileType.RuntimeDefault } }),
        ...(options.user === undefined ? {} : parseUser(options.user)),
      },
    },
  };
}

/** "KEY=VALUE", or "KEY" for the caller's own value, which may be absent. */
export function parseEnv(text: string, env: RunSurroundings["env"]): v1.KeyValueSent[] {
  const at = text.indexOf("=");
  const key = at === -1 ? text : text.slice(0, at);
  if (key === "") throw new UsageError(`--env ${JSON.stringify(text)} has no name`);
  const value = at === -1 ? env[key] : text.slice(at + 1);
  return value === undefined ? [] : [{ key, value: Buffer.from(value) }];
}

/** "HOST:CONTAINER[:OPTION,...]"; a relative HOST is taken from the working directory. */
export function parseVolume(text: string, workingDirectory: string): v1.MountSent {
  const [host = "", containerPath = "", options = "", ...rest] = text.split(":");
  if (host === "" || containerPath === "" || rest.length > 0)
    throw new UsageError(`--volume ${JSON.stringify(text)} is not of the form HOST:CONTAINER[:ro]`);
  if (!containerPath.startsWith("/"))
    throw new UsageError(`--volume ${JSON.stringify(text)}: the path in the container is not absolute`);
  const mount: v1.MountSent = { hostPath: resolve(workingDirectory, host), containerPath };
  for (const option of options === "" ? [] : options.split(",")) addMountOption(mount, option);
  return mount;
}

function addMountOption(mount: v1.MountSent, option: string): void {
  if (option === "ro") mount.readonly = true;
  else if (option === "rshared") mount.propagation = v1.MountPropagation.PROPAGATION_BIDIRECTIONAL;
  else if (option === "rslave") mount.propagation = v1.MountPropagation.PROPAGATION_HOST_TO_CONTAINER;
  else if (option !== "rw" && option !== "rprivate")
    throw new UsageError(
      `--volume option ${JSON.stringify(option)} is none of ro, rw, rprivate, rslave, rshared`,
    );
}

/** "[IP:]HOST:CONTAINER[/PROTOCOL]"; an IPv6 address stands in brackets. */
export function parsePort(text: string): v1.PortMappingSent {
  const match = /^(?:(\[[^\]]+\]|[^:]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(text);
  const [hostPort, containerPort] = [Number(match?.[2]), Number(match?.[3])];
  if (match === null || hostPort < 1 || hostPort > 65535 || containerPort < 1 || containerPort > 65535)
    throw new UsageError(`--publish ${JSON.stringify(text)} is not of the form [IP:]HOST:CONTAINER[/udp]`);
  const protocols: Record<string, number> = {
    tcp: v1.Protocol.TCP,
    udp: v1.Protocol.UDP,
    sctp: v1.Protocol.SCTP,
  };
  return {
    hostIp: (match[1] ?? "").replace(/^\[|\]$/g, ""),
    hostPort,
    containerPort,
    protocol: protocols[match[4] ?? "tcp"] ?? v1.Protocol.TCP,
  };
}

/** "1000", "1000:1000" or a name; a group only with a numeric user, as the CRI has it. */
export function parseUser(text: string): v1.LinuxContainerSecurityContextSent {
  const [user = "", group, ...rest] = text.split(":");
  if (user === "" || rest.length > 0 || (group !== undefined && !/^\d+$/.test(group)))
    throw new UsageError(`--user ${JSON.stringify(text)} is not of the form USER[:GROUP-ID]`);
  return {
    ...(/^\d+$/.test(user) ? { runAsUser: { value: toInt64(BigInt(user)) } } : { runAsUsername: user }),
    ...(group === undefined ? {} : { runAsGroup: { value: toInt64(BigInt(group)) } }),
  };
}

const sizeUnits: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/** "64m", "1.5g": binary units, as all container tools read them. In bytes. */
export function parseSize(text: string): bigint {
  const match = /^(\d+(?:\.\d+)?)([bkmgt]?)(?:i?b)?$/.exec(text.toLowerCase());
  const bytes = Number(match?.[1]) * (sizeUnits[match?.[2] ?? ""] ?? 1);
  if (match === null || bytes < 1)
    throw new UsageError(`--memory ${JSON.stringify(text)} is not a size such as 64m`);
  return BigInt(Math.round(bytes));
}

const cpuPeriodUs = 100_000;

/** "0.5": half a CPU, as quota and period. */
export function parseCpus(text: string): v1.LinuxContainerResourcesSent {
  const cpus = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || cpus < 0.01 || cpus > 4096)
    throw new UsageError(`--cpus ${JSON.stringify(text)} is not a number of CPUs from 0.01 on`);
  return {
    cpuPeriod: toInt64(BigInt(cpuPeriodUs)),
    cpuQuota: toInt64(BigInt(Math.round(cpus * cpuPeriodUs))),
    cpuShares: toInt64(BigInt(Math.max(2, Math.round(cpus * 1024)))),
  };
}
