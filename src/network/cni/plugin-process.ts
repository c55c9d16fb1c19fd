// One run of a plugin: bounded in time and output, and with its whole process tree ended when it takes too long.
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setImmediate as immediate, setTimeout as delay } from "node:timers/promises";
import { CricketError, errnoOf, messageOf, wrapError } from "../../base/errors.ts";
import { killInvocation, invocationVariable } from "./invocation.ts";
import { pluginErrorOf } from "./plugin-error.ts";

export type CniCommand = "ADD" | "DEL" | "CHECK" | "STATUS" | "GC" | "VERSION";

export interface PluginRun {
  /** Path of the executable. */
  path: string;
  /** For messages. */
  type: string;
  command: CniCommand;
  /** CNI_CONTAINERID and the like, without CNI_COMMAND. */
  variables: Readonly<Record<string, string>>;
  /** Written to standard input. */
  config: string;
  timeoutMs: number;
}

export interface PluginOutput {
  stdout: string;
  /** The beginning of it. */
  stderr: string;
}

const maxStdoutBytes = 1024 * 1024;
const maxStderrBytes = 16 * 1024;
// A process the plugin left behind may keep its pipes open for ever.
const drainMs = 500;
// "Text file busy": an installer is just writing the executable.
const busyRetries = 10;
const busyDelayMs = 100;

/**
 * Runs the plugin to its end.
 * @throws PluginError where it fails, deadline-exceeded where it was killed, resource-exhausted for endless output
 */
export async function runPlugin(run: PluginRun): Promise<PluginOutput> {
  const what = `plugin ${run.type} ${run.command}`;
  for (let attempt = 0; ; attempt++) {
    try {
      return await runOnce(run, what);
    } catch (error) {
      if (errnoOf(error) !== "ETXTBSY" || attempt === busyRetries)
        throw error instanceof CricketError ? error : wrapError(what, error);
      await delay(busyDelayMs);
    }
  }
}

async function runOnce(run: PluginRun, what: string): Promise<PluginOutput> {
  const containerId = run.variables["CNI_CONTAINERID"] ?? "";
  const invocation = `${containerId}/${randomBytes(8).toString("hex")}`;
  const child = spawn(run.path, [], {
    stdio: "pipe",
    cwd: "/",
    env: {
      ...inheritedEnvironment(),
      ...run.variables,
      CNI_COMMAND: run.command,
      [invocationVariable]: invocation,
    },
    // A session and process group of its own, which can be ended as one.
    detached: true,
  });
  const output = collect(child, what);
  // A plugin that does not read its input closes it early; its exit status says more than EPIPE.
  child.stdin?.on("error", () => {});
  child.stdin?.end(run.config);
  const timer = setTimeout(() => {
    output.fail(new CricketError("deadline-exceeded", `${what}: no end after ${run.timeoutMs} ms`));
  }, run.timeoutMs);
  try {
    const ending = await Promise.race([endOf(child), output.failed]);
    await drained(child);
    if (ending === "") return output.text();
    throw pluginErrorOf({ what, ending, ...output.text() });
  } catch (error) {
    // Also where it ended by itself: what it left running works on an attachment that is given up.
    if (child.pid !== undefined) await killInvocation(invocation, child);
    throw error;
  } finally {
    clearTimeout(timer);
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

/** "" for success. Rejects where there was no process. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (status, signal) => {
      if (signal !== null) resolve(`ended by ${signal}`);
      else resolve(status === 0 ? "" : `exit status ${status}`);
    });
  });
}

async function drained(child: ChildProcess): Promise<void> {
  const isOpen = [child.stdout, child.stderr].some((stream) => stream !== null && !stream.closed);
  if (!isOpen) return;
  const waiting = new AbortController();
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await Promise.race([closed, delay(drainMs, undefined, { signal: waiting.signal }).catch(() => {})]);
  waiting.abort();
  // Where this process was held up, the time is over before what lies in the pipe is read: timers come before input.
  await immediate();
}

interface CollectedOutput {
  text(): PluginOutput;
  /** Rejects when `fail` is called, or when standard output passes its limit. */
  failed: Promise<never>;
  fail(error: CricketError): void;
}

function collect(child: ChildProcess, what: string): CollectedOutput {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let stdoutBytes = 0;
  let stderrBytes = 0;
  let fail: (error: CricketError) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  child.stdout?.on("data", (bytes: Buffer) => {
    stdoutBytes += bytes.length;
    if (stdoutBytes <= maxStdoutBytes) stdout.push(bytes);
    else fail(new CricketError("resource-exhausted", `${what}: it prints more than ${maxStdoutBytes} bytes`));
  });
  child.stderr?.on("data", (bytes: Buffer) => {
    // Read on, so that a chatty plugin is not held up, and forgotten.
    const room = maxStderrBytes - stderrBytes;
    if (room > 0) stderr.push(bytes.subarray(0, room));
    stderrBytes += bytes.length;
  });
  for (const stream of [child.stdout, child.stderr])
    stream?.on("error", (error) => fail(new CricketError("internal", `${what}: ${messageOf(error)}`)));
  const text = (): PluginOutput => ({
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  });
  return { text, failed, fail };
}

// Plugins call tools and read proxies and the like from the environment; what speaks of this process itself stays, and
// of the protocol's variables all but the one that is the operator's to set (libcni's skel reads it).
function inheritedEnvironment(): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:CNI_(?!NETNS_OVERRIDE$)|CRICKET_|NODE_|NOTIFY_SOCKET$|WATCHDOG_|LISTEN_)/.test(name),
  );
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ...Object.fromEntries(kept),
  };
}
