// npm test [-- SUITE...|FILE...] [--no-install]: sets up what the tests need, then runs the suites one after the
// other. The last line is "N passed, N failed, N skipped"; the lines before it say why tests were skipped.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { build, buildParts } from "./build.mjs";
import { builtTest, bundleTests, removeBuiltTests, testOf } from "./bundle-tests.mjs";
import { installPackages } from "./debian-packages.mjs";
import { root, run, seconds } from "./step.mjs";
import { cannotRunGuest, runInGuest } from "./guest.mjs";
import { setup } from "./setup.mjs";

/**
 * In this order: what is quick and explains most comes first. Kernel and daemon tests look at mounts, cgroups and
 * interfaces of the whole machine, so their files run one at a time.
 */
const suites = [
  { name: "unit", serial: false, timeoutMs: 120_000 },
  { name: "kernel", serial: true, timeoutMs: 300_000 },
  { name: "daemon", serial: true, timeoutMs: 600_000 },
  { name: "crash", serial: true, timeoutMs: 600_000 },
  { name: "conformance", serial: true, timeoutMs: 1_800_000 },
  { name: "guest", serial: true, timeoutMs: 1_200_000 },
];

/** Tests that run in the guest too: what differs with cgroup v2 or an older kernel. */
const alsoInGuest = [
  "test/kernel/cgroup",
  "test/kernel/snapshot/overlay.test.ts",
  "test/kernel/snapshot/idmapped-overlay.test.ts",
  "test/daemon/user-namespace-rules.test.ts",
];

const guestTimeoutMs = 900_000;

function testFiles(directory) {
  if (directory.endsWith(".test.ts")) return [directory];
  if (!fs.existsSync(path.join(root, directory))) return [];
  return fs
    .readdirSync(path.join(root, directory), { withFileTypes: true })
    .flatMap((entry) => {
      const file = path.join(directory, entry.name);
      if (entry.isDirectory()) return testFiles(file);
      return entry.name.endsWith(".test.ts") ? [file] : [];
    })
    .toSorted();
}

/** The suites to run with their files: all, those named, or just the files named. */
function selection(names) {
  const all = suites.map((suite) => ({ ...suite, files: filesOf(suite.name) }));
  if (names.length === 0) return all;
  const isNamed = (file) =>
    names.some((name) => file === path.normalize(name) || file.startsWith(`${path.normalize(name)}/`));
  return all
    .map((suite) => ({
      ...suite,
      // A kernel test named by its file runs here; in the guest only with the guest's whole suite.
      files: suite.files.filter(
        (file) => names.includes(suite.name) || (file.startsWith(`test/${suite.name}/`) && isNamed(file)),
      ),
    }))
    .filter((suite) => suite.files.length > 0);
}

const filesOf = (name) => [`test/${name}`, ...(name === "guest" ? alsoInGuest : [])].flatMap(testFiles);

function readResults(file) {
  if (!fs.existsSync(file)) return [];
  return fs
    .readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** Arguments of node for one suite. The reporters are named by path, as the guest sees the checkout elsewhere. */
function nodeArguments(suite, results) {
  return [
    "--enable-source-maps",
    "--test",
    `--test-timeout=${suite.timeoutMs}`,
    // Node's own choice leaves one core to the runner, which has next to nothing to do.
    `--test-concurrency=${suite.serial ? 1 : os.availableParallelism()}`,
    `--test-reporter=${process.stdout.isTTY ? "spec" : "./scripts/test-printer.mjs"}`,
    "--test-reporter-destination=stdout",
    "--test-reporter=./scripts/test-reporter.mjs",
    `--test-reporter-destination=${results}`,
    ...suite.files.map(builtTest),
  ];
}

async function runSuite(suite, directory) {
  if (suite.files.length === 0) return [];
  const start = performance.now();
  process.stdout.write(`\n== ${suite.name}: ${suite.files.length} files\n`);
  const tests = [];
  for (const part of partsOf(suite)) tests.push(...(await runPart(part, directory)));
  process.stdout.write(`== ${suite.name}: ${seconds(start)}\n`);
  return tests;
}

/** The guest is several machines, one after the other; all files but a few run on the first. */
function partsOf(suite) {
  if (suite.name !== "guest") return [suite];
  return ["apparmor", "selinux", "systemd", "systemd-hybrid"]
    .map((machine) => ({
      ...suite,
      machine,
      files: suite.files.filter((file) => machineOf(file) === machine),
    }))
    .filter((part) => part.files.length > 0);
}

function machineOf(file) {
  const folder = /^test\/guest\/(systemd[^/]*)\//.exec(file)?.[1];
  if (folder !== undefined) return folder;
  return path.basename(file).startsWith("selinux") ? "selinux" : "apparmor";
}

async function runPart(suite, directory) {
  const { machine } = suite;
  const unable = machine === undefined ? undefined : cannotRunGuest(machine);
  if (unable !== undefined)
    return suite.files.map((file) => ({ name: file, file, result: "skipped", reason: unable }));
  const results = path.join(directory, `${suite.name}-${machine ?? "here"}.jsonl`);
  const status = await (machine === undefined ? runHere : runGuestSuite)(suite, results);
  const tests = readResults(results);
  const failed = tests.some((test) => test.result === "failed");
  // A runner that died, or that failed without saying which test, must not count as a pass.
  if (status !== 0 && !failed)
    tests.push({ name: `the test runner ended with status ${status}`, file: suite.name, result: "failed" });
  return tests;
}

// The daemon that tests start is then the compiled one.
const runHere = (suite, results) =>
  run(process.execPath, nodeArguments(suite, results), { env: { ...process.env, CRICKET_TEST_DIST: "1" } });

function runGuestSuite(suite, results) {
  const { machine } = suite;
  const args = nodeArguments(suite, "/run/job/results");
  return runInGuest(args, { machine, timeoutMs: guestTimeoutMs }, (job) => {
    const written = path.join(job, "results");
    // The guest sees the checkout elsewhere.
    if (fs.existsSync(written))
      fs.writeFileSync(results, fs.readFileSync(written, "utf8").replaceAll("/run/checkout/", `${root}/`));
  });
}

/** In CI everything can be installed, so a test that misses a package there has not been run by mistake. */
function refuseMissingPackages(tests) {
  if (process.env.CI !== "true") return tests;
  return tests.map((test) =>
    test.result === "skipped" && test.reason.startsWith("needs the package")
      ? { ...test, result: "failed", reason: `${test.reason}: not accepted in CI` }
      : test,
  );
}

function summarize(tests) {
  const of = (result) => tests.filter((test) => test.result === result);
  for (const [reason, count] of countByReason(of("skipped")))
    process.stdout.write(`skipped ${count}: ${reason}\n`);
  for (const test of of("failed")) {
    const file = test.file === undefined ? "" : testOf(test.file);
    process.stdout.write(
      `FAILED ${file}: ${test.name}${test.reason === undefined ? "" : ` (${test.reason})`}\n`,
    );
  }
  process.stdout.write(
    `${of("passed").length} passed, ${of("failed").length} failed, ${of("skipped").length} skipped\n`,
  );
  return of("failed").length === 0 && of("passed").length > 0;
}

function countByReason(tests) {
  const counts = new Map();
  for (const test of tests) counts.set(test.reason, (counts.get(test.reason) ?? 0) + 1);
  return counts;
}

async function main() {
  const names = process.argv.slice(2).filter((argument) => argument !== "--no-install");
  const mayInstall = !process.argv.includes("--no-install");
  const chosen = selection(names);
  if (chosen.every((suite) => suite.files.length === 0)) {
    process.stderr.write(
      `no test matches ${names.join(" ")}; suites: ${suites.map((suite) => suite.name).join(" ")}\n`,
    );
    return false;
  }
  setup();
  if (mayInstall && chosen.some((suite) => suite.name !== "unit")) installPackages(["test"]);
  // Unit tests run from the sources alone; the others also run the program, as built.
  if (chosen.some((suite) => suite.name !== "unit" && suite.files.length > 0)) build();
  else buildParts();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-test-results-"));
  try {
    await bundleTests([...new Set(chosen.flatMap((suite) => suite.files))]);
    const tests = [];
    for (const suite of chosen) tests.push(...(await runSuite(suite, directory)));
    return summarize(refuseMissingPackages(tests));
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
    removeBuiltTests();
  }
}

process.exitCode = (await main()) ? 0 : 1;
