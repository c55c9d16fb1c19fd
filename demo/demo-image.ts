// The demo's image, out of the project's own static programs: nothing is downloaded.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import path from "node:path";
import { promisify } from "node:util";
import {
  buildImage,
  buildLayer,
  programEntry,
  skeletonEntries,
  type TestImage,
} from "../test/support/test-image.ts";

const flags = ["-static", "-Os", "-s", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow"];

/** So that there is something to see while it is pulled; random, so that it does not shrink. */
const ballastBytes = 24 * 1024 * 1024;

/** Compiles web and look into `directory` and packs them into an image of three layers. */
export async function buildDemoImage(directory: string): Promise<TestImage> {
  const programs = ["web", "look"];
  await Promise.all(programs.map((name) => compile(name, directory)));
  const layers = [
    await buildLayer(skeletonEntries()),
    await buildLayer([{ name: "usr/share/ballast", content: randomBytes(ballastBytes) }]),
    await buildLayer(programs.map((name) => programEntry(`bin/${name}`, path.join(directory, name)))),
  ];
  return buildImage(layers, {
    config: {
      Entrypoint: ["/bin/web"],
      Env: ["PATH=/bin"],
      User: "www-data",
      ExposedPorts: { "8080/tcp": {} },
    },
  });
}

async function compile(name: string, directory: string): Promise<void> {
  const source = path.join(import.meta.dirname, `${name}.c`);
  await promisify(execFile)(process.env["CC"] ?? "gcc", [...flags, "-o", path.join(directory, name), source]);
}
