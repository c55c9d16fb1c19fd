// The Debian packages that building and testing use, and their installation. Nothing here is needed to run cricket.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { root } from "./step.mjs";

/**
 * Reads scripts/debian-packages.json: name, some of its files (any one of them shows that it is there), use, `for`
 * ("build", "check" or "test"), and `architecture` where it exists for one only.
 */
export function debianPackages() {
  const entries = JSON.parse(fs.readFileSync(`${root}/scripts/debian-packages.json`, "utf8"));
  return entries.filter(({ architecture }) => architecture === undefined || architecture === process.arch);
}

const isPresent = (entry) => entry.files.some((file) => fs.existsSync(file));

/** The packages for one of the `uses` whose files are not on this machine. */
export const missingPackages = (uses) =>
  debianPackages().filter((entry) => uses.includes(entry.for) && !isPresent(entry));

/** Why packages cannot be installed here, or undefined. */
export function cannotInstall() {
  if (process.getuid?.() !== 0) return "not root";
  if (!fs.existsSync("/usr/bin/apt-get")) return "no apt-get";
  return undefined;
}

// A package of a daemon must not start it: the tests run their own, in private directories. SYSTEMD_OFFLINE and
// RUNLEVEL are what systemctl and invoke-rc.d look at.
const quiet = { DEBIAN_FRONTEND: "noninteractive", SYSTEMD_OFFLINE: "1", RUNLEVEL: "1" };
const aptOptions = ["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2"];

function apt(args) {
  const env = { ...process.env, ...quiet };
  const result = spawnSync("apt-get", [...aptOptions, ...args], { encoding: "utf8", env });
  if (result.status !== 0)
    process.stderr.write(`apt-get ${args[0]} failed:\n${result.stdout ?? ""}${result.stderr ?? ""}`);
  return result.status === 0;
}

/**
 * Installs what is missing of the packages for these uses, after naming them. Never throws: a machine that cannot
 * install them skips the tests that ask for them, and each skip says which package it misses.
 */
export function installPackages(uses) {
  const missing = missingPackages(uses);
  if (missing.length === 0) return;
  const names = missing.map((entry) => entry.name);
  const reason = cannotInstall();
  if (reason !== undefined) {
    process.stdout.write(`missing Debian packages (${reason}, so not installed): ${names.join(" ")}\n`);
    return;
  }
  process.stdout.write("installing Debian packages:\n");
  for (const entry of missing) process.stdout.write(`  ${entry.name.padEnd(20)} ${entry.use}\n`);
  const install = () => apt(["install", "-y", "--no-install-recommends", ...names]);
  if (!fs.existsSync("/var/lib/apt/lists") || fs.readdirSync("/var/lib/apt/lists").length < 3)
    apt(["update"]);
  // Lists that are days old name versions the mirror no longer has: refresh them once and try again.
  if (!install() && apt(["update"])) install();
}

/** The compiler and make, without which nothing can be built: installed when possible, else a clear end. */
export function requireBuildTools() {
  installPackages(["build"]);
  const missing = missingPackages(["build"]).map((entry) => entry.name);
  if (missing.length === 0) return;
  process.stderr.write(`cannot build: install ${missing.join(" ")} first\n`);
  process.exit(1);
}

/** Version of an installed clang-format, e.g. 14; undefined without one. */
export function clangFormatVersion() {
  const result = spawnSync("clang-format", ["--version"], { encoding: "utf8" });
  const found = /version (\d+)\./.exec(result.stdout ?? "");
  return found === null ? undefined : Number(found[1]);
}
