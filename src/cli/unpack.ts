import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { CleanupStack } from "../base/cleanup-stack.ts";
import { errnoOf, failedPrecondition, wrapError } from "../base/errors.ts";
import { Log } from "../base/log.ts";
import { loadConfig } from "../config/load-config.ts";
import { resolveUser } from "../container/resolve-user.ts";
import type { ImageConfig } from "../image/image-config.ts";
import { ImageService, type ResolvedImage } from "../image/image-service.ts";
import { close } from "../linux/files.ts";
import { runProgram } from "../linux/run-program.ts";
import { stringifySpec } from "../oci/parse-spec.ts";
import { defaultSpec } from "../oci/runtime/default-spec.ts";
import type { Process, Spec } from "../oci/spec.ts";
import { openLayerStore } from "../snapshot/open-layer-store.ts";
import { createOverlay } from "../snapshot/overlay.ts";
import { defineCommand, exitStatus } from "./command.ts";

export const unpack = defineCommand({
  operands: "IMAGE BUNDLE",
  summary: "make an OCI bundle of an image",
  description: `
Pulls the image, without a daemon, and writes its files to BUNDLE/rootfs and a config.json that runs it as the image
says. \`cricket oci run --bundle BUNDLE ID\` runs it.`,
  options: {},
  arity: [2, 2],
  async run({ operands: [image = "", bundle = ""], surroundings }) {
    await unpackImage(image, resolve(bundle), surroundings.interrupted);
    return exitStatus.ok;
  },
});

/** @throws CricketError; then the bundle is not there */
async function unpackImage(image: string, bundle: string, signal: AbortSignal): Promise<void> {
  const undo = new CleanupStack();
  makeBundle(bundle);
  undo.defer("remove the bundle", () => rmSync(bundle, { recursive: true, force: true }));
  // Beside the rootfs: the same filesystem, and nothing is left of it in the end.
  const store = mkdtempSync(join(bundle, ".image-"));
  try {
    await withImage({ image, store, signal }, (resolved, root) => writeBundle(bundle, resolved.config, root));
    undo.keep();
  } catch (error) {
    throw await undo.fail(error);
  } finally {
    rmSync(store, { recursive: true, force: true });
  }
}

function makeBundle(bundle: string): void {
  try {
    mkdirSync(bundle, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) === "EEXIST") throw failedPrecondition(`${bundle} is there already`);
    throw wrapError(`make ${bundle}`, error);
  }
}

interface Wanted {
  image: string;
  store: string;
  signal: AbortSignal;
}

/** `use` gets the image and a read-only mount of its files. */
async function withImage(
  { image, store, signal }: Wanted,
  use: (image: ResolvedImage, root: number) => Promise<void>,
): Promise<void> {
  const { config } = loadConfig({ argv: [], env: process.env });
  const log = new Log({ level: "warn" });
  const layersRoot = join(store, "layers");
  const layers = await openLayerStore({ root: layersRoot, log });
  try {
    const images = await ImageService.open({
      ...config.image,
      layers,
      log,
      imagesRoot: join(store, "images"),
      blobsRoot: join(store, "blobs"),
      layersRoot,
      containerLayersRoot: join(store, "containers"),
    });
    const { imageId } = await images.pull({ reference: image, signal });
    const resolved = images.resolveForContainer(imageId);
    const root = createOverlay({ lowers: resolved.chainIds.map((chainId) => layers.path(chainId)) });
    try {
      await use(resolved, root);
    } finally {
      close(root);
    }
  } finally {
    await layers.close();
  }
}

async function writeBundle(bundle: string, image: ImageConfig, root: number): Promise<void> {
  // The mount has no path of its own. cp(1) keeps links, owners, times, capabilities and devices.
  await runProgram({
    path: "cp",
    args: ["-a", `/proc/${process.pid}/fd/${root}/.`, join(bundle, "rootfs")],
    env: [`PATH=${process.env["PATH"] ?? "/usr/bin:/bin"}`, "LC_ALL=C"],
  });
  const user = resolveUser(
    root,
    {
      runAsUsername: "",
      supplementalGroups: [],
      supplementalGroupsPolicy: "merge",
    },
    image.user,
  );
  writeFileSync(join(bundle, "config.json"), `${stringifySpec(specOf(image, user), 2)}\n`);
}

/** The image-spec's conversion.md: what an image says of running it, over the default. */
export function specOf(
  image: ImageConfig,
  user: { uid: number; gid: number; additionalGids: number[]; home: string },
): Spec {
  const spec = defaultSpec();
  const args = [...image.entrypoint, ...image.cmd];
  const { env: defaults = [], ...base } = spec.process as Process;
  const variables = new Map([...defaults, ...image.env].map((line) => [line.split("=", 1)[0] ?? "", line]));
  if (!variables.has("HOME")) variables.set("HOME", `HOME=${user.home}`);
  const additionalGids = user.additionalGids.filter((gid) => gid !== user.gid);
  return {
    ...spec,
    root: { path: "rootfs" },
    process: {
      ...base,
      args: args.length === 0 ? ["sh"] : args,
      cwd: image.workingDir === "" ? "/" : image.workingDir,
      env: [...variables.values()],
      user: { uid: user.uid, gid: user.gid, ...(additionalGids.length === 0 ? {} : { additionalGids }) },
    },
    annotations: annotationsOf(image),
  };
}

function annotationsOf({ stopSignal, exposedPorts, labels }: ImageConfig): Record<string, string> {
  return {
    ...(stopSignal === "" ? {} : { "org.opencontainers.image.stopSignal": stopSignal }),
    ...(exposedPorts.length === 0 ? {} : { "org.opencontainers.image.exposedPorts": exposedPorts.join(",") }),
    ...labels,
  };
}
