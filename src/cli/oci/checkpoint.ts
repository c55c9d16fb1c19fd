import { resolve } from "node:path";
import { close } from "../../linux/files.ts";
import { becomeSubreaper } from "../../linux/reap.ts";
import { checkpointContainer } from "../../oci/runtime/checkpoint.ts";
import {
  cgroupsModes,
  type CgroupsMode,
  type CriuOptions,
  type CriuPlaces,
} from "../../oci/runtime/criu-request.ts";
import { deleteContainer } from "../../oci/runtime/delete.ts";
import { relayTerminal } from "../../oci/runtime/relay-terminal.ts";
import { restoreContainer } from "../../oci/runtime/restore.ts";
import { forwardSignals, waitForProcess } from "../../oci/runtime/wait-process.ts";
import { UsageError } from "../command.ts";
import { countOf, type FlagTable, type ParsedFlags } from "./flags.ts";
import type { Verb } from "./verb.ts";

/** Shared by checkpoint and restore. */
const sharedFlags: FlagTable = {
  "image-path": { takes: "text", value: "DIR", help: "where the images are (checkpoint)" },
  "work-path": { takes: "text", value: "DIR", help: "where criu keeps its log and what it works with" },
  "tcp-established": { help: "with connections of TCP" },
  "ext-unix-sk": { help: "with sockets whose other end is outside" },
  "shell-job": { help: "with a terminal of the caller" },
  "file-locks": { help: "with locks of files" },
  "manage-cgroups-mode": { takes: "text", value: "MODE", help: "soft, full, strict or ignore" },
  "empty-ns": { takes: "list", value: "NAMESPACE", help: "what is in this namespace is left out: network" },
  "lazy-pages": { help: "memory is fetched when it is used" },
};

const defaultImagePath = "checkpoint";

export const checkpoint: Verb = {
  operands: "CONTAINER",
  summary: "write a running container into files with criu",
  flags: {
    ...sharedFlags,
    "parent-path": {
      takes: "text",
      value: "DIR",
      help: "images of an earlier --pre-dump, below the image path",
    },
    "leave-running": { help: "the container goes on" },
    "pre-dump": { help: "memory alone, while the container goes on" },
    "auto-dedup": { help: "what later images hold is removed from earlier ones" },
    "page-server": {
      takes: "text",
      value: "ADDRESS:PORT",
      help: "memory goes to the page server of criu there",
    },
    "status-fd": { takes: "text", value: "FD", help: "criu writes there when lazy pages are ready" },
  },
  arity: [1, 1],
  failure: "checkpoint failed",
  async run({ runtime, flags, operands }) {
    if (flags.switches.has("lazy-pages") && !flags.texts.has("page-server"))
      throw new UsageError("--lazy-pages needs --page-server ADDRESS:PORT, where the pages are served");
    // Reaped here, as its helper ends before it.
    becomeSubreaper();
    const options = {
      ...criuOptions(flags),
      leaveRunning: flags.switches.has("leave-running"),
      preDump: flags.switches.has("pre-dump"),
      parentPath: parentPathOf(flags),
      autoDedup: flags.switches.has("auto-dedup"),
      pageServer: pageServerOf(flags.texts.get("page-server")),
      statusFd: flags.texts.has("status-fd") ? countOf(flags, "status-fd") : undefined,
    };
    await checkpointContainer(runtime, operands[0] ?? "", options, placesOf(flags));
    return 0;
  },
};

export const restore: Verb = {
  operands: "CONTAINER",
  summary: "run a container again from the files of a checkpoint",
  flags: {
    ...sharedFlags,
    bundle: { short: "b", takes: "text", value: "DIR", help: "the bundle (.)" },
    detach: { short: "d", help: "return when the container runs" },
    "pid-file": { takes: "text", value: "FILE", help: "where the pid is written" },
    "console-socket": { takes: "text", value: "SOCKET", help: "unix socket that receives the terminal" },
    "no-pivot": { help: "refused: criu changes the root with pivot_root" },
    "no-subreaper": { help: "orphans of the container are left to the next subreaper" },
    "auto-dedup": { help: "what later images hold is removed from earlier ones" },
    "lsm-profile": {
      takes: "text",
      value: "PROFILE",
      help: "the AppArmor profile or SELinux label to restore with",
    },
    "lsm-mount-context": {
      takes: "text",
      value: "LABEL",
      help: "the SELinux context of mounts to restore with",
    },
  },
  arity: [1, 1],
  failure: "restore failed",
  async run({ runtime, flags, operands, warn }) {
    const { switches, texts } = flags;
    if (switches.has("no-pivot")) throw new UsageError("--no-pivot: criu changes the root with pivot_root");
    const [id = ""] = operands;
    if (flags.texts.get("manage-cgroups-mode") === "ignore")
      throw new UsageError(
        "--manage-cgroups-mode ignore: the container would be in the cgroups of its caller",
      );
    const options = {
      ...criuOptions(flags),
      id,
      bundle: texts.get("bundle") ?? ".",
      pidFile: texts.get("pid-file"),
      consoleSocket: texts.get("console-socket"),
      keepsTerminal: !switches.has("detach"),
      autoDedup: switches.has("auto-dedup"),
      lsmProfile: texts.get("lsm-profile"),
      lsmMountContext: texts.get("lsm-mount-context"),
    };
    const { pid, pidfd, pty, warnings } = await restoreContainer(runtime, options, placesOf(flags));
    warnings.forEach(warn);
    if (switches.has("detach")) {
      close(pidfd);
      return 0;
    }
    const signals = forwardSignals(pidfd);
    const terminal = pty === undefined ? undefined : relayTerminal(pty);
    try {
      return await waitForProcess(pid, pidfd);
    } finally {
      await terminal?.end();
      signals.stop();
      (await deleteContainer(runtime, id, true)).forEach(warn);
    }
  },
};

function criuOptions(flags: ParsedFlags): CriuOptions & { emptyNetwork: boolean } {
  const { switches, texts, lists } = flags;
  const emptied = lists.get("empty-ns") ?? [];
  const other = emptied.find((name) => name !== "network");
  if (other !== undefined) throw new UsageError(`--empty-ns ${other}: only network can be left empty`);
  const mode = texts.get("manage-cgroups-mode") ?? "soft";
  if (!isMode(mode))
    throw new UsageError(`--manage-cgroups-mode ${mode}: not one of ${cgroupsModes.join(", ")}`);
  return {
    tcpEstablished: switches.has("tcp-established"),
    extUnixSk: switches.has("ext-unix-sk"),
    shellJob: switches.has("shell-job"),
    fileLocks: switches.has("file-locks"),
    manageCgroups: mode,
    lazyPages: switches.has("lazy-pages"),
    emptyNetwork: emptied.length > 0,
  };
}

const isMode = (text: string): text is CgroupsMode => cgroupsModes.some((mode) => mode === text);

/** The logs are with the images where no other place is named. */
function placesOf({ texts }: ParsedFlags): CriuPlaces {
  const images = resolve(texts.get("image-path") ?? defaultImagePath);
  return { images, work: resolve(texts.get("work-path") ?? images) };
}

/** criu takes it from the image directory on, and so a restore finds it wherever both are moved. */
function parentPathOf({ texts }: ParsedFlags): string | undefined {
  const path = texts.get("parent-path");
  if (path?.startsWith("/") === true)
    throw new UsageError(`--parent-path ${path}: it must be relative to the image path`);
  return path;
}

function pageServerOf(text: string | undefined): { address: string; port: number } | undefined {
  if (text === undefined) return undefined;
  const [, address, port] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  if (address === undefined || Number(port) > 65_535)
    throw new UsageError(`--page-server ${text}: not ADDRESS:PORT`);
  return { address, port: Number(port) };
}
