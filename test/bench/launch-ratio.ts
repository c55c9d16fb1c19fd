// A launch as the daemon does it, up to execve, beside the least that the same namespaces and mounts can cost: the
// program launch-floor.c, which makes them, runs the same program and reaps it.
import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { makeEmptyNamespace } from "../../src/linux/empty-namespace.ts";
import type { HelperBinary } from "../../src/linux/helper-binary.ts";
import { CLONE_NEWCGROUP, type LaunchProgram, type Step } from "../../src/linux/launch-program.ts";
import { startMonitor } from "../../src/linux/start-monitor.ts";
import { compileContainer } from "../../src/oci/compile-container.ts";
import type { RootfsPlace } from "../../src/oci/container-launch.ts";
import { defaultSpec } from "../../src/oci/runtime/default-spec.ts";
import type { Spec } from "../../src/oci/spec.ts";
import { LaunchFixture, loadHelper } from "../support/launch-fixture.ts";
import { summarize, type Samples } from "./samples.ts";

const checkout = path.resolve(import.meta.dirname, "../..");
const command = ["/probe", "exit", "0"];

// A node launches one container, and then does something else: both kinds find the machine as it is after a rest.
const restMs = 25;
const warmUpRounds = 10;

/** Adds the times of `rounds` launches of each kind in turn, with a network namespace of their own and without. */
export async function measureLaunches(samples: Samples, rounds: number): Promise<string[]> {
  const made = spawnSync("make", ["-s", "-C", "test/bench"], { cwd: checkout, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`make -C test/bench: ${made.stderr}`);
  const helper = loadHelper();
  helper.beginIn(await makeEmptyNamespace(helper, os.tmpdir()));
  helper.keepSpare();
  const ratios: string[] = [];
  for (const network of [true, false]) {
    const name = network ? "own network" : "host network";
    const launches: LaunchTimes[] = [];
    const floors: number[] = [];
    using floor = new Floor(network);
    for (let done = -warmUpRounds; done < rounds; done++) {
      await delay(restMs);
      const launch = await launchTimes(helper, network);
      await delay(restMs);
      const floorMs = await floor.launchTime();
      if (done < 0) continue;
      launches.push(launch);
      floors.push(floorMs);
    }
    const add = (row: string, times: number[]): number => {
      for (const timeMs of times) samples.add(`${row}, ${name}`, timeMs);
      return summarize(times).median;
    };
    const launchMs = add(
      "launch to exec",
      launches.map((times) => times.launchMs),
    );
    const wholeMs = add(
      "  with its spec compiled",
      launches.map((times) => times.wholeMs),
    );
    const floorMs = add("  plain C, to the end", floors);
    const [ratio, wholeRatio] = [launchMs / floorMs, wholeMs / floorMs].map((value) => value.toFixed(1));
    ratios.push(`launch to exec over plain C, ${name}: ${ratio} x, with its spec compiled: ${wholeRatio} x`);
  }
  helper.close();
  return ratios;
}

/** The C program has its steps when its time begins, as `launchMs` has; `wholeMs` begins before they are compiled. */
interface LaunchTimes {
  launchMs: number;
  wholeMs: number;
}

/** Without cgroups, which the C program does without too. */
function specOf(network: boolean): Spec {
  const spec = defaultSpec();
  if (spec.process !== undefined) spec.process = { ...spec.process, terminal: false, args: command };
  spec.mounts = (spec.mounts ?? []).filter(({ type }) => type !== "cgroup");
  const namespaces = (spec.linux?.namespaces ?? []).filter(({ type }) => network || type !== "network");
  spec.linux = { ...spec.linux, namespaces };
  return spec;
}

const compile = (network: boolean, rootfs: RootfsPlace, emptyNamespace?: number): LaunchProgram =>
  compileContainer({
    ...(emptyNamespace === undefined ? {} : { emptyNamespace }),
    id: "bench",
    spec: specOf(network),
    env: [],
    rootfs,
    join: [],
    cgroup: { files: [] },
    cgroupView: { version: 2 },
  });

async function launchTimes(helper: HelperBinary, network: boolean): Promise<LaunchTimes> {
  const fixture = new LaunchFixture();
  const { containerDir, logPath } = fixture;
  const startMs = performance.now();
  const program = compile(network, fixture.rootfsPlace, helper.emptyNamespace);
  const compiledMs = performance.now();
  const monitor = await startMonitor(helper, program, { containerDir, logPath });
  await monitor.start();
  const endMs = performance.now();
  await monitor.onExit;
  fixture.dispose();
  return { launchMs: endMs - compiledMs, wholeMs: endMs - startMs };
}

/** The C program, which launches when it is told to. */
class Floor implements Disposable {
  readonly #directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-floor-"));
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #times: AsyncIterator<string>;

  constructor(network: boolean) {
    const rootfs = path.join(this.#directory, "rootfs");
    const stepsFile = path.join(this.#directory, "steps");
    fs.mkdirSync(rootfs);
    fs.copyFileSync(path.join(checkout, "build/probe"), path.join(rootfs, "probe"));
    const { steps } = compile(network, { mount: 0, target: "/" });
    fs.writeFileSync(stepsFile, `${steps.flatMap(floorStep).join("\n")}\n`);
    const fork = steps.find((step) => step.op === "fork");
    const flags = (fork?.flags ?? 0) | CLONE_NEWCGROUP;
    this.#process = spawn(
      path.join(checkout, "build/launch-floor"),
      [stepsFile, String(flags), rootfs, ...command],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    this.#times = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async launchTime(): Promise<number> {
    this.#process.stdin.write("\n");
    const { value, done } = await this.#times.next();
    if (done === true) throw new Error("launch-floor ended");
    return Number(value) / 1000;
  }

  [Symbol.dispose](): void {
    this.#process.stdin.end();
    fs.rmSync(this.#directory, { recursive: true });
  }
}

/** The line of a step that makes or mounts something; what limits or checks has none. */
function floorStep(step: Step): string[] {
  const line = (...words: (string | number | bigint)[]): string[] => [words.join("\t")];
  switch (step.op) {
    case "mountFs": {
      const data = step.options
        .filter(([key]) => key !== "source")
        .map(([key, value]) => (typeof value === "string" ? `${key}=${value}` : key));
      // The low four bits of mount attributes are those of mount flags; times of access are not.
      return line("mount", step.type, inRoot(step.target), step.attributes & 0xf, data.join(","));
    }
    case "mknodInRoot":
      return line("mknod", inRoot(step.path), step.mode, step.device);
    case "symlinkInRoot":
      return line("symlink", step.linkTarget, inRoot(step.path));
    case "maskPath":
      return line("mask", inRoot(step.path));
    case "readonlyPath":
      return line("readonly", inRoot(step.path));
    case "sethostname":
      return line("hostname", step.name);
    default:
      return [];
  }
}

const inRoot = (target: string): string => target.replace(/^\//, "");
