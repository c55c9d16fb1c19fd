import fs from "node:fs";
import path from "node:path";
import { Log } from "../../../src/base/log.ts";
import { ImageService } from "../../../src/image/image-service.ts";
import { openLayerStore, type OpenLayerStore } from "../../../src/snapshot/open-layer-store.ts";

export interface OpenImages {
  images: ImageService;
  layers: OpenLayerStore;
}

/** An image service with the real layer store below `root`, which may pull from `registry` in plain http. */
export async function openImages(root: string, registry: string): Promise<OpenImages> {
  const at = (...names: string[]): string => path.join(root, ...names);
  fs.writeFileSync(at("registries.conf"), `[[registry]]\nlocation = "${registry}"\ninsecure = true\n`);
  const log = new Log({ level: "error" });
  const layers = await openLayerStore({ root: at("layers"), log });
  const images = await ImageService.open({
    layers,
    log,
    imagesRoot: at("images"),
    blobsRoot: at("blobs", "sha256"),
    layersRoot: at("layers"),
    containerLayersRoot: at("containers"),
    registriesConf: at("registries.conf"),
    policy: at("policy.json"),
    authFile: at("auth.json"),
    parallelLayers: 3,
    stallTimeoutMs: 10_000,
    pinned: [],
  });
  return { images, layers };
}

/** Names of everything below `root` that belongs to an image, once deletions in the background are done. */
export async function remainsOf(root: string, layers: OpenLayerStore): Promise<string[]> {
  await layers.idle();
  const directories = ["images", "blobs/sha256", "layers", "layers/.staging", "layers/.trash"];
  const names = directories.flatMap((name) => fs.readdirSync(path.join(root, name)));
  return names.filter((name) => !name.startsWith("."));
}
