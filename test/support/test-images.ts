// An ImageService on private directories, with layers in memory, for tests of what it makes of registries.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { Log } from "../../src/base/log.ts";
import type { AuthConfig } from "../../src/image/credentials.ts";
import { ImageService, type ImageServiceOptions } from "../../src/image/image-service.ts";
import { startFakeRegistry, type FakeRegistry } from "./fake-registry.ts";
import { createMemoryLayerStore, type MemoryLayerStore } from "./memory-layer-store.ts";

export interface TestImages {
  service: ImageService;
  layers: MemoryLayerStore;
  root: string;
  /** Everything that was logged. */
  log: string[];
  /** A registry that registries.conf calls insecure; closed at the end of the test. */
  registry(): Promise<FakeRegistry>;
  /** One that speaks https, of which registries.conf says nothing. */
  secureRegistry(): Promise<FakeRegistry>;
  /** Adds a file to registries.conf.d. */
  configure(text: string): void;
  /** A new service on the same directories and layers, as after a restart. */
  reopen(options?: Partial<ImageServiceOptions>): Promise<ImageService>;
  /** Files of the image and blob directories, and layers: what a failed pull must leave empty. */
  remains(): string[];
}

export const noAuth: AuthConfig = {
  username: "",
  password: "",
  auth: "",
  serverAddress: "",
  identityToken: "",
  registryToken: "",
};

export async function openTestImages(
  t: TestContext,
  options: Partial<ImageServiceOptions> = {},
): Promise<TestImages> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-images-"));
  t.after(() => fs.rmSync(root, { recursive: true, force: true }));
  const at = (...names: string[]): string => path.join(root, ...names);
  for (const name of ["layers", "containers", "registries.conf.d"]) fs.mkdirSync(at(name));
  const layers = createMemoryLayerStore();
  const log: string[] = [];
  const all: ImageServiceOptions = {
    layers,
    log: new Log({ level: "debug", write: (line) => log.push(line) }),
    imagesRoot: at("images"),
    blobsRoot: at("blobs", "sha256"),
    layersRoot: at("layers"),
    containerLayersRoot: at("containers"),
    registriesConf: at("registries.conf"),
    policy: at("policy.json"),
    authFile: at("auth.json"),
    certificateRoots: [at("certs.d")],
    parallelLayers: 3,
    stallTimeoutMs: 10_000,
    pinned: [],
    ...options,
  };
  let files = 0;
  const configure = (text: string): void =>
    fs.writeFileSync(at("registries.conf.d", `${files++}.conf`), text);
  const listed = (name: string): string[] => fs.readdirSync(at(name)).map((file) => `${name}/${file}`);
  const images: TestImages = {
    service: await ImageService.open(all),
    layers,
    root,
    log,
    configure,
    async registry() {
      const registry = await startFakeRegistry();
      t.after(() => registry.close());
      configure(`[[registry]]\nlocation = "${registry.address}"\ninsecure = true\n`);
      return registry;
    },
    async secureRegistry() {
      const registry = await startFakeRegistry({ tls: true });
      t.after(() => registry.close());
      return registry;
    },
    reopen: (changed = {}) => ImageService.open({ ...all, ...changed }),
    remains: () =>
      [...listed("images"), ...listed("blobs/sha256"), ...layers.list(), ...layers.staged].map(String),
  };
  return images;
}
