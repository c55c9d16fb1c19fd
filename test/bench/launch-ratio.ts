// A launch as the daemon does it, up to execve, beside the least that the same namespaces and mounts can cost: the
// program launch-floor.c, which makes them, runs the same program and reaps it.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
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

/** Launches in turn of each kind: what else the machine does meanwhile then slows both down alike. */
const turnRounds = 5;

/** Adds the times of some `rounds` launches of each kind, with a network namespace of their own and without. */
export async function measureLaunches(samples: Samples, rounds: number): Promise<string[]> {
  const made = spawnSync("make", ["-s", "-C", "test/bench"], { cwd: checkout, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`make -C test/bench: ${made.stderr}`);
  const helper = loadHelper();
  helper.beginIn(await makeEmptyNamespace(helper, os.tmpdir()));
  const ratios: string[] = [];
  for (const network of [true, false]) {
    const name = network ? "own network" : "host network";
    const launches: number[] = [];
    const floor: number[] = [];
    for (let done = -turnRounds; done < rounds; done += turnRounds) {
      // The first turn warms up.
      launches.splice(0, done === 0 ? turnRounds : 0);
      floor.splice(0, done === 0 ? turnRounds : 0);
      launches.push(...(await launchTimes(helper, network)));
      floor.push(...floorTimes(network));
    }
    for (const timeMs of launches) samples.add(`launch to exec, ${name}`, timeMs);
    for (const timeMs of floor) samples.add(`  plain C, to the end, ${name}`, timeMs);
    const ratio = summarize(launches).median / summarize(floor).median;
    ratios.push(`launch to exec over plain C, ${name}: ${ratio.toFixed(1)} x`);
  }
  helper.close();
  return ratios;
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

async function launchTimes(helper: HelperBinary, network: boolean): Promise<number[]> {
  const times: number[] = [];
  const fixture = new LaunchFixture();
  for (let round = 0; round < turnRounds; round++) {
    const { containerDir, logPath } = fixture.renew();
    const startMs = performance.now();
    const program = compile(network, fixture.rootfsPlace, helper.emptyNamespace);
    const monitor = await startMonitor(helper, program, { containerDir, logPath });
    await monitor.start();
    times.push(performance.now() - startMs);
    await monitor.onExit;
  }
  fixture.dispose();
  return times;
}

function floorTimes(network: boolean): number[] {
  const rootfs = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-floor-"));
  try {
    fs.copyFileSync(path.join(checkout, "build/probe"), path.join(rootfs, "probe"));
    const { steps } = compile(network, { mount: 0, target: "/" });
    const fork = steps.find((step) => step.op === "fork");
    const flags = (fork?.flags ?? 0) | CLONE_NEWCGROUP;
    const { status, stdout, stderr } = spawnSync(
      path.join(checkout, "build/launch-floor"),
      [String(turnRounds), String(flags), rootfs, ...command],
      { input: `${steps.flatMap(floorStep).join("\n")}\n`, encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`launch-floor: ${stderr}`);
    return stdout
      .trim()
      .split("\n")
      .map((line) => Number(line) / 1000);
  } finally {
    fs.rmSync(rootfs, { recursive: true });
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
