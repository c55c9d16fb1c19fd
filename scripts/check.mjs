// npm run check [-- --no-tests]: the fast gate. Layout, lint, types, C with warnings as errors, unit tests; all of them
// run, so that one look shows everything there is to mend.
import { cFiles, clangFormatWanted } from "./c-files.mjs";
import { buildParts } from "./build.mjs";
import { clangFormatVersion, installPackages } from "./debian-packages.mjs";
import { bin, run, seconds } from "./step.mjs";

function clangFormat() {
  const version = clangFormatVersion();
  if (version === clangFormatWanted) return run("clang-format", ["--dry-run", "--Werror", ...cFiles()]);
  const found = version === undefined ? "not installed" : `version ${version}`;
  process.stdout.write(`clang-format ${clangFormatWanted} is wanted, ${found}: C layout not checked\n`);
  return process.env.CI === "true" ? 1 : 0;
}

const steps = [
  {
    name: "prettier",
    step: () =>
      run(bin("prettier"), [
        "--check",
        "--cache",
        "--cache-location=build/prettier-cache",
        "--log-level=warn",
        ".",
      ]),
  },
  { name: "oxlint", step: () => run(bin("oxlint"), ["--type-aware", "--deny-warnings"]) },
  { name: "tsc", step: () => run(bin("tsc"), ["-p", "."]) },
  { name: "clang-format", step: clangFormat },
  { name: "unit tests", step: () => run(process.execPath, ["scripts/test.mjs", "--no-install", "unit"]) },
].filter(({ name }) => name !== "unit tests" || !process.argv.includes("--no-tests"));

if (process.env.CI === "true") installPackages(["check"]);
// Also compiles the C programs, whose Makefile makes every warning an error.
buildParts();
const results = steps.map(({ name, step }) => {
  const start = performance.now();
  const status = step();
  return `${status === 0 ? "ok    " : "FAILED"} ${name} (${seconds(start)})`;
});
process.stdout.write(`${results.join("\n")}\n`);
process.exitCode = results.some((line) => line.startsWith("FAILED")) ? 1 : 0;
