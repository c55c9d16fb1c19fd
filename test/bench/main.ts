// npm run bench: measures cricket, and containerd where it is installed, in the same run on the same images.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { startDaemon } from "../support/daemon.ts";
import { startBenchImages, type BenchImages } from "./bench-images.ts";
import { drawChart, formatTable } from "./chart.ts";
import { cannotRunContainerd, startContainerd } from "./containerd.ts";
import { measureLaunches } from "./launch-ratio.ts";
import { measure, type BenchOptions, type Measurement } from "./measure.ts";

import { measureOciRuns } from "./oci-start.ts";
import { Samples } from "./samples.ts";

const usage = `usage: npm run bench -- [options]
  --rounds N        rounds of the pod life cycle (30)
  --small-pulls N   pulls of the small image (20)
  --big-pulls N     pulls of the big image (10)
  --listed N        containers of the long lists, of cricket alone (1000; 0: none)
  --no-peer         cricket alone, also where containerd is installed
  --out DIR         where results.json and latency.svg go (test/bench/out)
`;

const checkout = path.resolve(import.meta.dirname, "../..");

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "30" },
      "small-pulls": { type: "string", default: "20" },
      "big-pulls": { type: "string", default: "10" },
      listed: { type: "string", default: "1000" },
      "no-peer": { type: "boolean", default: false },
      out: { type: "string", default: path.join(checkout, "test/bench/out") },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const options: BenchOptions = {
    rounds: count(values.rounds),
    smallPulls: count(values["small-pulls"]),
    bigPulls: count(values["big-pulls"]),
    listed: values.listed === "0" ? 0 : count(values.listed),
    signal: untilSignal(),
  };
  const noPeer = values["no-peer"] ? "--no-peer was given" : cannotRunContainerd();
  report(await runAll(options, noPeer), values.out);
  return 0;
}

/** A peer that was killed half-way would leave its containers, mounts and networks. */
function untilSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(name, () => controller.abort(new Error(`stopped by ${name}`)));
  return controller.signal;
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${text} is not a number of rounds\n${usage}`);
  return value;
}

async function runAll(options: BenchOptions, noPeer: string | undefined): Promise<Measurement[]> {
  say(`machine: kernel ${os.release()}, ${os.cpus().length} cores, load ${os.loadavg()[0]?.toFixed(2)}`);
  say("building images");
  const images = await startBenchImages(path.join(checkout, "build/pause"));
  try {
    const measurements = [await measureCricket(images, options)];
    if (noPeer === undefined) measurements.push(await measureContainerd(images, options));
    else say(`no comparison: ${noPeer}`);
    // Last, as it makes this process a subreaper: the peer's shims would become its children and be counted nowhere.
    await measureAlone(measurements, options);
    return measurements;
  } finally {
    await images.close();
  }
}

async function measureCricket(images: BenchImages, options: BenchOptions): Promise<Measurement> {
  say("measuring cricket");
  const settings = { "log.level": "info" };
  const daemon = await startDaemon({ registries: [images.address], settings });
  try {
    const { client, pid } = daemon;
    return await measure({ label: "cricket", client, pid }, images, options);
  } finally {
    await daemon.close();
  }
}

/** What needs no daemon, added to cricket's measurement. */
async function measureAlone(measurements: Measurement[], { rounds }: BenchOptions): Promise<void> {
  say("measuring launches and the OCI command line");
  const samples = new Samples();
  (await measureLaunches(samples, rounds)).forEach(say);
  measureOciRuns(samples, rounds).forEach(say);
  for (const [name, summary] of samples.summaries()) measurements[0]?.latency.set(name, summary);
}

async function measureContainerd(images: BenchImages, options: BenchOptions): Promise<Measurement> {
  say("measuring containerd");
  const peer = await startContainerd(images);
  try {
    // A thousand containers would take it minutes.
    return await measure(peer, images, { ...options, listed: 0 });
  } finally {
    await peer.close();
  }
}

function report(measurements: Measurement[], directory: string): void {
  process.stdout.write(`\n${formatTable(measurements)}`);
  fs.mkdirSync(directory, { recursive: true });
  const plain = measurements.map(({ latency, memory, throughput, ...rest }) => ({
    ...rest,
    latency: Object.fromEntries(latency),
    memory: Object.fromEntries(memory),
    throughput: Object.fromEntries(throughput),
  }));
  const json = path.join(directory, "results.json");
  const chart = path.join(directory, "latency.svg");
  const day = new Date().toISOString().slice(0, 10);
  const subtitle = `kernel ${os.release()}, ${os.cpus().length} cores, ${day}`;
  fs.writeFileSync(json, `${JSON.stringify(plain, undefined, 2)}\n`);
  fs.writeFileSync(chart, drawChart(measurements, subtitle));
  say(`written: ${json} ${chart}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main();
