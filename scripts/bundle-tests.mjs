// Test files -> build/tests/PID/: one plain ES module each, and what several import in modules that they share. A test file
// has a process of its own; from the sources each would compile everything it imports first, which takes most of them
// longer than their tests. `npx tsx --test FILE` runs one from the sources.
import fs from "node:fs";
import path from "node:path";
import { root } from "./step.mjs";

const outputs = path.join("build", "tests");
// Its own for each run: another may be under way in the same checkout.
const output = path.join(outputs, String(process.pid));

/** The built file of a test file; both relative to the root. */
export const builtTest = (file) => path.join(output, file.replace(/\.ts$/, ".mjs"));

/** The test file of a built file, relative to the root; any other path as it is. */
export function testOf(file) {
  const relative = path.relative(root, file);
  return relative.replace(/^build\/tests\/\d+\/(.*)\.mjs$/, "$1.ts");
}

/**
 * Modules look for files beside their source. The checkout is where the tests are run, which in the guest is not where
 * they are built.
 */
const sourcePlaces = {
  name: "source-places",
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      if (file.includes("/node_modules/")) return undefined;
      const source = await fs.promises.readFile(file, "utf8");
      const place = JSON.stringify(path.relative(root, file));
      const contents = source.replace(
        /\bimport\.meta\.(url|dirname|filename)\b/g,
        (_, what) => `sourcePlace(${place}).${what}`,
      );
      return { contents, loader: "ts" };
    });
  },
};

const banner = `import { dirname as placeDirname } from "node:path";
import { pathToFileURL as placeUrl } from "node:url";
const placeRoot = globalThis.process.cwd();
const sourcePlace = (file) => {
  const filename = \`\${placeRoot}/\${file}\`;
  return { filename, dirname: placeDirname(filename), url: placeUrl(filename).href };
};`;

/** Removes what this run has built, and what others have that were killed. */
export function removeBuiltTests() {
  const directory = path.join(root, outputs);
  if (!fs.existsSync(directory)) return;
  for (const name of fs.readdirSync(directory))
    if (name === String(process.pid) || !fs.existsSync(`/proc/${name}`))
      fs.rmSync(path.join(directory, name), { recursive: true, force: true });
}

/** Builds all of `files`, paths relative to the root. */
export async function bundleTests(files) {
  const esbuild = await import("esbuild");
  removeBuiltTests();
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: files,
    outdir: output,
    outbase: ".",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    sourcemap: true,
    sourcesContent: false,
    logLevel: "warning",
    banner: { js: banner },
    plugins: [sourcePlaces],
  });
}
