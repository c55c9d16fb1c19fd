// npm run demo: installs, builds, then runs demo/demo.ts on the compiled daemon.
import { spawn } from "node:child_process";
import { build } from "./build.mjs";
import { root } from "./step.mjs";

build();
const demo = spawn(process.execPath, ["--import", "tsx", "demo/demo.ts"], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, CRICKET_TEST_DIST: "1" },
});
// The demo cleans up after itself when it is told to end: this process must outlive it, or the shell would come back
// before that is done.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => demo.kill(signal));
demo.on("error", (error) => {
  process.stderr.write(`${process.execPath}: ${error.message}\n`);
  process.exitCode = 1;
});
demo.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
