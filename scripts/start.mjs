// npm start: builds, then runs the daemon in the foreground (arguments after -- go to `cricket daemon`).
import { spawn } from "node:child_process";
import path from "node:path";
import { build } from "./build.mjs";
import { root } from "./step.mjs";

build();
const main = path.join(root, "dist", "bin", "cricket");
const daemon = spawn(process.execPath, [main, "daemon", ...process.argv.slice(2)], { stdio: "inherit" });
// Ctrl-C reaches the daemon by itself, as it is in the same process group: this process only has to outlive it.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => daemon.kill("SIGTERM"));
daemon.on("error", (error) => {
  process.stderr.write(`${process.execPath}: ${error.message}\n`);
  process.exitCode = 1;
});
daemon.on("exit", (code, signal) => {
  process.exitCode = signal === null ? (code ?? 1) : 1;
});
