// npm run bench [-- options]: builds, then runs the benchmark of test/bench on the compiled daemon. The benchmark launches
// containers by itself, too; so it is compiled as the daemon is.
import { build } from "./build.mjs";
import { builtTest, bundleTests, removeBuiltTests } from "./bundle-tests.mjs";
import { run } from "./step.mjs";

const program = "test/bench/main.ts";

build();
await bundleTests([program]);
try {
  process.exitCode = run(process.execPath, [builtTest(program), ...process.argv.slice(2)], {
    env: { ...process.env, CRICKET_TEST_DIST: "1" },
  });
} finally {
  removeBuiltTests();
}
