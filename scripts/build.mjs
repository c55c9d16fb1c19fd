// npm run build: C programs -> build/, generated API code -> cri-api/, TypeScript -> dist/. Each part is skipped
// when nothing it is made from has changed.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { setup } from "./setup.mjs";
import { bin, root, runOrExit, seconds } from "./step.mjs";

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
  return [
    ...found,
    ...["tsconfig.json", "tsconfig.build.json", "package-lock.json"].map((name) => path.join(root, name)),
  ];
}

// The stamp holds the list of files: a file that was deleted or renamed changes no time stamp.
const sameList = (files) => fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === files.join("\n");

function isCurrent(files) {
  if (!sameList(files)) return false;
  const builtAt = fs.statSync(stamp).mtimeMs;
  return files.every((file) => fs.statSync(file).mtimeMs < builtAt);
}

/** What the compiler does not emit: generated JavaScript and data files, beside the code that loads them. */
function copyData(files) {
  for (const file of files) {
    const name = path.relative(root, file);
    if (!sources.includes(name.split(path.sep)[0])) continue;
    if (name.endsWith(".ts") || name.endsWith(".mjs")) continue;
    const target = path.join(root, "dist", name);
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.copyFileSync(file, target);
  }
}

function buildTypeScript() {
  const files = sourceFiles();
  if (isCurrent(files)) return;
  const start = performance.now();
  const beganAt = new Date();
  if (!sameList(files)) fs.rmSync(path.join(root, "dist"), { recursive: true, force: true });
  copyData(files);
  runOrExit(bin("tsc"), ["-p", "tsconfig.build.json"]);
  const main = path.join(root, "dist", "src", "main.js");
  if (fs.existsSync(main)) fs.chmodSync(main, 0o755);
  fs.writeFileSync(stamp, files.join("\n"));
  // A file saved while the compiler ran counts as changed.
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

/** Everything, ready to run as `node dist/src/main.js`. */
export function build() {
  buildParts();
  buildTypeScript();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) build();
