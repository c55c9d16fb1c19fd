// npm run bench [-- options]: builds, then runs the benchmark of test/bench on the compiled daemon.
import { build } from "./build.mjs";
import { run } from "./step.mjs";

build();
process.exitCode = run(
  process.execPath,
  ["--import", "tsx", "test/bench/main.ts", ...process.argv.slice(2)],
  {
    env: { ...process.env, CRICKET_TEST_DIST: "1" },
  },
);
