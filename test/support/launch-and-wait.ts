// A stand-in for a daemon that dies: starts a container in the directory and with the log that are its arguments, says
// so, and waits to be killed.
import { join } from "node:path";
import { HelperBinary } from "../../src/linux/helper-binary.ts";
import { startMonitor } from "../../src/linux/start-monitor.ts";

const buildDir = join(import.meta.dirname, "../../build");
const [containerDir, logPath] = process.argv.slice(2);
const monitor = await startMonitor(
  HelperBinary.load(buildDir),
  {
    steps: [
      { op: "fork", flags: 0 },
      { op: "waitGate" },
      { op: "exec", argv: [join(buildDir, "probe"), "signals"], env: [] },
    ],
  },
  { containerDir: containerDir!, logPath },
);
await monitor.start();
process.stdout.write("started\n");
setInterval(() => {}, 1000);
