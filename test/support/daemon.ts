// A real daemon for a test: its own roots, socket, bridge, subnet and cgroup parent, so that it meets neither the
// machine's daemon nor another test's. `close` removes its pods, stops it and fails if anything of it is left.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { randomBytes, randomInt } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectCri, type CriClient } from "../../cri-api/client.ts";
import { cricketProgram } from "./cricket-program.ts";
import { startDescriptorCheck, startLeakCheck } from "./leak-check.ts";
import { removeLeftovers } from "./leftovers.ts";

export interface DaemonOptions {
  /** Registries on loopback that are to be reached in plain http: "127.0.0.1:5000". */
  registries?: string[];
  /** Settings of cricket.toml by their dotted name: `{ "network.mtu": 1400 }`. */
  settings?: Record<string, string | number | boolean | string[]>;
  env?: Record<string, string>;
  /** In a process group of its own: Ctrl-C on the terminal does not reach it. */
  detached?: boolean;
}

const checkout = path.resolve(import.meta.dirname, "../..");
const readyTimeoutMs = 30_000;

/** Starts a daemon and waits until it answers. */
export async function startDaemon(options: DaemonOptions = {}): Promise<TestDaemon> {
  const daemon = new TestDaemon(options);
  try {
    await daemon.start();
  } catch (error) {
    await daemon.abandon();
    throw error;
  }
  return daemon;
}

export class TestDaemon {
  /** Part of the name of everything the daemon makes outside its roots. */
  readonly name: string;
  readonly runRoot: string;
  readonly stateRoot: string;
  readonly bridgeName: string;
  readonly subnet: string;
  readonly cgroupParent: string;
  readonly socket: string;
  readonly #options: DaemonOptions;
  readonly #directory: string;
  readonly #checkLeaks: () => Promise<void>;
  #checkDescriptors: (() => Promise<void>) | undefined;
  #process: ChildProcess | undefined;
  #client: CriClient | undefined;

  constructor(options: DaemonOptions) {
    this.#options = options;
    const token = randomBytes(4).toString("hex");
    this.name = `cricket-${token}`;
    this.bridgeName = `ct${token}`;
    // A /24 of 10.64.0.0/10: neither the default subnet nor what Docker and kubeadm like to use.
    this.subnet = `10.${randomInt(64, 128)}.${randomInt(256)}.0/24`;
    this.cgroupParent = `/${this.name}`;
    this.#checkLeaks = startLeakCheck({ marks: [this.name, token], descriptorsOf: "none" });
    this.#directory = `/run/${this.name}`;
    this.runRoot = path.join(this.#directory, "run");
    this.stateRoot = `/var/lib/${this.name}`;
    this.socket = path.join(this.#directory, "cricket.sock");
    fs.mkdirSync(this.#directory, { mode: 0o711 });
  }

  /** A new one with each start: a channel whose daemon was killed would wait for up to a second first. */
  get client(): CriClient {
    this.#client ??= connectCri(this.endpoint);
    return this.#client;
  }

  get endpoint(): string {
    return `unix://${this.socket}`;
  }

  /** @throws when the daemon is not running */
  get pid(): number {
    if (this.#process?.pid === undefined) throw new Error("the daemon is not running");
    return this.#process.pid;
  }

  get nriSocket(): string {
    return path.join(this.#directory, "nri.sock");
  }

  /** A directory for log files and the like, removed with the daemon. */
  get directory(): string {
    return this.#directory;
  }

  /** What the daemon has logged so far, over all its starts. */
  log(): string {
    return fs.readFileSync(path.join(this.#directory, "log"), "utf8");
  }

  /** Starts the daemon on its roots, again after `stop` or `kill`. `env` is for this start only: failpoints. */
  async start(env: Record<string, string> = {}): Promise<void> {
    this.#disconnect();
    fs.writeFileSync(path.join(this.#directory, "cricket.toml"), this.#config());
    fs.writeFileSync(
      path.join(this.#directory, "registries.conf"),
      registriesConf(this.#options.registries ?? []),
    );
    const log = fs.openSync(path.join(this.#directory, "log"), "a");
    const config = path.join(this.#directory, "cricket.toml");
    this.#process = spawn(process.execPath, [...cricketProgram(), "daemon", "--config", config], {
      cwd: checkout,
      stdio: ["ignore", log, log],
      env: { ...process.env, ...this.#options.env, ...env },
      detached: this.#options.detached ?? false,
    });
    fs.closeSync(log);
    await this.#untilReady(this.#process);
    this.#checkDescriptors = this.#hasPods() ? undefined : startDescriptorCheck(this.pid);
  }

  /** SIGTERM; resolves to the exit status. */
  async stop(): Promise<number | null> {
    return this.#end("SIGTERM");
  }

  /** SIGKILL: what the OOM killer does. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Resolves when the daemon has ended by itself: at a failpoint. */
  async ended(): Promise<void> {
    if (this.#process !== undefined) await untilExit(this.#process);
    this.#process = undefined;
  }

  async restart(env: Record<string, string> = {}): Promise<void> {
    await this.stop();
    await this.start(env);
  }

  /**
   * Removes all pods, stops the daemon, removes its directories. Fails when the daemon then holds descriptors it did
   * not have when it started without pods, or when something of it is left on the machine.
   */
  async close(): Promise<void> {
    try {
      if (this.#process === undefined || !isRunning(this.#process)) await this.start();
      await this.removeAllPods();
      await this.#checkDescriptors?.();
      const status = await this.stop();
      if (status !== 0) throw new Error(`the daemon ended with status ${status}:\n${this.log()}`);
      await removeLeftovers(this, "what-is-kept");
      // Before the roots go: a mount below them is a leak, and must not be what makes their removal fail.
      for (const directory of [this.#directory, this.stateRoot])
        fs.rmSync(directory, { recursive: true, force: true });
      this.#disconnect();
      await this.#checkLeaks();
    } finally {
      await this.abandon();
    }
  }

  /** What `close` does when it cannot go the daemon's way: ends and removes everything by force, without a check. */
  async abandon(): Promise<void> {
    await this.kill();
    this.#disconnect();
    await removeLeftovers(this, "everything");
  }

  async removeAllPods(): Promise<void> {
    const { items } = await this.client.runtime.listPodSandbox({});
    for (const { id } of items) {
      await this.client.runtime.stopPodSandbox({ podSandboxId: id });
      await this.client.runtime.removePodSandbox({ podSandboxId: id });
    }
  }

  /** True for a daemon that found pods of an earlier one: it holds descriptors of them from the start. */
  #hasPods(): boolean {
    return fs.readdirSync(path.join(this.runRoot, "sandboxes")).length > 0;
  }

  #disconnect(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  #config(): string {
    const settings = {
      socket: this.socket,
      run_root: this.runRoot,
      state_root: this.stateRoot,
      helper_dir: path.join(checkout, "build"),
      "log.level": "debug",
      "cgroup.parent": this.cgroupParent,
      "network.bridge_name": this.bridgeName,
      "network.subnet": this.subnet,
      "network.cni_conf_dir": path.join(this.#directory, "no-cni"),
      "image.registries_conf": path.join(this.#directory, "registries.conf"),
      "image.policy": path.join(this.#directory, "no-policy.json"),
      "image.auth_file": path.join(this.#directory, "no-auth.json"),
      "nri.socket": this.nriSocket,
      "nri.plugin_dir": path.join(this.#directory, "nri-plugins"),
      "cdi.spec_dirs": ["cdi", "cdi-run"].map((name) => path.join(this.#directory, name)),
      "nri.plugin_config_dir": path.join(this.#directory, "nri-conf"),
      ...this.#options.settings,
    };
    // A dotted key is TOML as it stands, and a JSON string or list is one too.
    return Object.entries(settings)
      .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
      .join("");
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const daemon = this.#process;
    this.#process = undefined;
    if (daemon === undefined) return null;
    if (isRunning(daemon)) daemon.kill(signal);
    await untilExit(daemon);
    return daemon.exitCode;
  }

  async #untilReady(daemon: ChildProcess): Promise<void> {
    let failure: Error | undefined;
    daemon.once("error", (error) => (failure = error));
    const deadline = Date.now() + readyTimeoutMs;
    for (;;) {
      if (failure !== undefined) throw failure;
      if (!isRunning(daemon)) throw new Error(`the daemon ended while starting:\n${this.log()}`);
      // gRPC backs off for a second after a connection that was refused: ask only when there is a socket.
      if (fs.existsSync(this.socket) && (await this.#answers())) return;
      if (Date.now() > deadline) throw new Error(`the daemon does not answer:\n${this.log()}`);
      await delay(10);
    }
  }

  async #answers(): Promise<boolean> {
    try {
      await this.client.runtime.version({}, { deadlineMs: 2000 });
      return true;
    } catch {
      return false;
    }
  }
}

// The connection of a killed daemon breaks before node has told of its end: /proc knows at once.
function isRunning({ pid, exitCode, signalCode }: ChildProcess): boolean {
  if (pid === undefined || exitCode !== null || signalCode !== null) return false;
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

async function untilExit(daemon: ChildProcess): Promise<void> {
  if (daemon.pid !== undefined && daemon.exitCode === null && daemon.signalCode === null)
    await once(daemon, "exit");
}

const registriesConf = (registries: string[]): string =>
  registries.map((location) => `[[registry]]\nlocation = "${location}"\ninsecure = true\n`).join("\n");
