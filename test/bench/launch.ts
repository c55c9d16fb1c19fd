// What the static programs cost by themselves: one monitor, start, exec and pause, in time of the caller and CPU of all
// processes, and what a waiting monitor keeps in memory. `npx tsx test/bench/launch.ts` as root.
import { readFileSync } from "node:fs";
import { CLONE_NEWNET, CLONE_NEWPID, type Step } from "../../src/linux/launch-program.ts";
import { openPidfd, signalPidfd } from "../../src/linux/pidfd.ts";
import { runExec } from "../../src/linux/run-exec.ts";
import { runSpawn } from "../../src/linux/run-spawn.ts";
import { startMonitor } from "../../src/linux/start-monitor.ts";
import { tryReap } from "../../src/linux/reap.ts";
import { close } from "../../src/linux/files.ts";
import { LaunchFixture, loadHelper, probe } from "../support/launch-fixture.ts";

const rounds = 50;
const SIGKILL = 9;

function median(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!.toFixed(2).padStart(7);
}

/** CPU of this process and of the children it has reaped, in ms. */
function cpuMs(): number {
  const fields = readFileSync("/proc/self/stat", "latin1").split(") ")[1]!.split(" ");
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
  return ticks * 10;
}

function pssKib(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1]);
}

function monitorOf(initPid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${initPid}/status`, "utf8"))?.[1]);
}

const helper = loadHelper();
const times: Record<string, number[]> = { monitor: [], start: [], exec: [], exit: [], spawn: [] };
async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const before = performance.now();
  const result = await work();
  times[name]!.push(performance.now() - before);
  return result;
}

function containerSteps(fixture: LaunchFixture, command: Step): Step[] {
  return [
    ...fixture.enterRootfs(),
    fixture.mountProc(),
    ...fixture.mountDev(),
    ...["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi"].map((path): Step => ({
      op: "maskPath",
      path,
    })),
    ...["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"].map((path): Step => ({
      op: "readonlyPath",
      path,
    })),
    { op: "pivotRoot" },
    { op: "waitGate" },
    command,
  ];
}

let memory = "";
for (let round = 0; round < rounds; round++) {
  const fixture = new LaunchFixture();
  const steps = containerSteps(fixture, probe("sleep", "1000"));
  const { containerDir, logPath } = fixture;
  const monitor = await timed("monitor", () => startMonitor(helper, { steps }, { containerDir, logPath }));
  await timed("start", () => monitor.start());
  const pidfd = openPidfd(monitor.initPid);
  const join: Step[] = [
    { op: "joinNamespaces", fd: pidfd, mask: CLONE_NEWPID },
    { op: "fork", flags: 0 },
    { op: "joinNamespaces", fd: pidfd, mask: 0x2c020000 },
    { op: "newSession" },
  ];
  const before = cpuMs();
  const execs = 20;
  for (let i = 0; i < execs; i++)
    await timed("exec", () =>
      runExec(helper, { steps: [...join, probe("exit", "0")] }, { timeoutMs: 10_000 }),
    );
  if (round === rounds - 1)
    memory = `monitor ${pssKib(monitorOf(monitor.initPid))} KiB PSS; exec ${((cpuMs() - before) / execs).toFixed(2)} ms CPU`;
  signalPidfd(pidfd, SIGKILL);
  await timed("exit", () => monitor.onExit);
  close(pidfd);
  const spawned = await timed("spawn", () =>
    runSpawn(helper, {
      steps: [
        { op: "fork", flags: CLONE_NEWPID | CLONE_NEWNET },
        { op: "sendSocket", domain: 16, type: 3, protocol: 0 },
        { op: "execFd", fd: helper.pauseFd, argv: ["pause"], env: [] },
      ],
    }),
  );
  if (round === rounds - 1) memory += `; pause ${pssKib(spawned.pid)} KiB PSS`;
  signalPidfd(spawned.pidfd, SIGKILL);
  while (tryReap(spawned.pid) === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  for (const fd of [spawned.pidfd, ...spawned.sockets]) close(fd);
  fixture.dispose();
}
for (const [name, values] of Object.entries(times))
  process.stdout.write(`${name.padEnd(8)} ${median(values)} ms median of ${values.length}\n`);
process.stdout.write(`${memory}\n`);
