// npm run build: C programs -> build/, generated API code -> cri-api/, TypeScript -> dist/. Each part is skipped
// when nothing it is made from has changed.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { setup } from "./setup.mjs";
import { root, runOrExit, seconds } from "./step.mjs";

const sources = ["src", "cri-api"];
const stamp = path.join(root, "dist", ".built");

function* filesUnder(directory) {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) yield* filesUnder(file);
    else if (entry.isFile()) yield file;
  }
}

function sourceFiles() {
  const found = sources.flatMap((name) => [...filesUnder(path.join(root, name))]);
  return [...found, ...["scripts/bundle.mjs", "package-lock.json"].map((name) => path.join(root, name))];
}

// The stamp holds the list of files, as a file that was deleted or renamed changes no time stamp, and the Node whose
// byte code is kept.
const stampOf = (files) => [process.version, ...files].join("\n");

function isCurrent(files) {
  if (!fs.existsSync(stamp) || fs.readFileSync(stamp, "utf8") !== stampOf(files)) return false;
  const builtAt = fs.statSync(stamp).mtimeMs;
  return files.every((file) => fs.statSync(file).mtimeMs < builtAt);
}

function buildTypeScript() {
  const files = sourceFiles();
  if (isCurrent(files)) return;
  const start = performance.now();
  const beganAt = new Date();
  runOrExit(process.execPath, ["scripts/bundle.mjs"]);
  fs.writeFileSync(stamp, stampOf(files));
  // A file saved meanwhile counts as changed.
  fs.utimesSync(stamp, beganAt, beganAt);
  process.stdout.write(`built dist/ in ${seconds(start)}\n`);
}

/** The C programs and the generated API code: what type checks, unit tests and tsx runs need. */
export function buildParts() {
  setup();
  if (fs.existsSync(path.join(root, "pause", "Makefile"))) runOrExit("make", ["-s", "-C", "pause"]);
  const generator = ["generate.mjs", "generate.ts"]
    .map((name) => path.join("cri-api", name))
    .find((name) => fs.existsSync(path.join(root, name)));
  if (generator !== undefined)
    runOrExit(process.execPath, [...(generator.endsWith(".ts") ? ["--import", "tsx"] : []), generator]);
}

/** Everything, ready to run as `dist/bin/cricket`. */
export function build() {
  buildParts();
  buildTypeScript();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build();
