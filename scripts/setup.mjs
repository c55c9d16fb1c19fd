// npm run setup: what every other script needs before it can do its work. It uses nothing but Node itself, because
// on a fresh clone nothing else is there.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { requireBuildTools } from "./debian-packages.mjs";
import { hasCommand, root, runOrExit } from "./step.mjs";

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(root, file), "utf8"));
  } catch {
    return undefined;
  }
}

/** True when node_modules holds just the versions that package-lock.json names. */
export function nodeModulesAreCurrent() {
  const wanted = readJson("package-lock.json")?.packages ?? {};
  const installed = readJson("node_modules/.package-lock.json")?.packages;
  if (installed === undefined) return false;
  // Optional packages are those of other platforms: npm leaves them out.
  return Object.entries(wanted).every(
    ([name, entry]) => name === "" || entry.optional === true || installed[name]?.version === entry.version,
  );
}

/** Installs the npm packages of package-lock.json unless they are there. */
export function ensureNodeModules() {
  if (nodeModulesAreCurrent()) return;
  if (!hasCommand("npm")) {
    process.stderr.write("npm is not in PATH, and node_modules is missing or stale\n");
    process.exit(1);
  }
  process.stdout.write("installing npm packages (npm ci)\n");
  runOrExit("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
}

/** Refuses a Node that is too old before anything fails in a way that does not say so. */
export function requireNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  process.stderr.write(`cricket needs Node 20.19 or later, this is ${process.versions.node}\n`);
  process.exit(1);
}

/** Node, npm packages, compiler. */
export function setup() {
  requireNode();
  requireBuildTools();
  ensureNodeModules();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setup();
