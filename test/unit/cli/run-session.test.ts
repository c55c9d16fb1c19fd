// `cricket run` against a scripted daemon: what it shows, returns and removes.
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CricketError } from "../../../src/base/errors.ts";
import type { Surroundings } from "../../../src/cli/command.ts";
import { fromInt64 } from "../../../cri-api/int64.ts";
import type { v1 as cricket } from "../../../cri-api/cricket/v1/api.js";
import { interruption, scriptedDaemon, type Ended } from "./scripted-daemon.ts";

interface Pod {
  log?: string;
  end?: cricket.WaitContainerResponseSent;
  createFails?: Error;
  startFails?: Error;
  removeFails?: Error;
  onStart?: () => void;
  /** The container runs until it is stopped. */
  waitsForStop?: boolean;
  hasImage?: boolean;
}

interface Ran extends Ended {
  calls: string[];
  logDirectory: string;
}

async function runPod(argv: string[], pod: Pod, change: Partial<Surroundings> = {}): Promise<Ran> {
  const calls: string[] = [];
  let [logDirectory, logPath] = ["", ""];
  let stopped: () => void = () => {};
  const untilStopped = new Promise<void>((resolve) => {
    stopped = resolve;
  });
  const note = (name: string): object => {
    calls.push(name);
    return {};
  };
  const daemon = await scriptedDaemon({
    image: { ImageStatus: () => (pod.hasImage === false ? {} : { image: { id: "sha256:1" } }) },
    cricket: {
      PullImage: async function* () {
        note("pull");
        await Promise.resolve();
        yield { imageId: "sha256:2" };
      },
      WaitContainer: async () => {
        if (pod.waitsForStop === true) await untilStopped;
        return pod.end ?? { exitCode: 0, reason: "Completed" };
      },
    },
    runtime: {
      RunPodSandbox: (request) => {
        logDirectory = request.config?.logDirectory ?? "";
        note("run");
        return { podSandboxId: "s" };
      },
      CreateContainer: (request) => {
        if (pod.createFails) throw pod.createFails;
        logPath = join(logDirectory, request.config?.logPath ?? "");
        note(`create ${request.config?.image?.image ?? ""}`);
        return { containerId: "c" };
      },
      StartContainer: () => {
        if (pod.startFails) throw pod.startFails;
        writeFileSync(logPath, pod.log ?? "");
        pod.onStart?.();
        return note("start");
      },
      StopContainer: (request) => {
        stopped();
        return note(`stop ${fromInt64(request.timeout)}`);
      },
      StopPodSandbox: () => note("stop pod"),
      RemovePodSandbox: () => {
        if (pod.removeFails) throw pod.removeFails;
        return note("remove pod");
      },
    },
  });
  const ended = await daemon.cli(["run", ...argv], change);
  await daemon.close();
  return { ...ended, calls, logDirectory };
}

const record = (text: string, stream = "stdout"): string => `2026-11-22T02:30:00Z ${stream} F ${text}\n`;
const whole = ["run", "create sha256:1", "start", "stop pod", "remove pod"];

test("`cricket run` shows the output, returns the status and removes everything", async () => {
  const ran = await runPod(["busybox", "sh", "-c", "exit 3"], {
    log: record("out") + record("err", "stderr"),
    end: { exitCode: 3, reason: "Error" },
  });
  assert.deepEqual([ran.status, ran.stdout, ran.stderr], [3, "out\n", "err\n"]);
  assert.deepEqual(ran.calls, whole);
  assert.equal(existsSync(ran.logDirectory), false);
});

test("`cricket run` pulls an image that is missing, or always, or never", async () => {
  assert.equal((await runPod(["x"], { hasImage: false })).calls[0], "pull");
  assert.deepEqual((await runPod(["--pull", "always", "x"], {})).calls.slice(0, 3), [
    "pull",
    "run",
    "create sha256:2",
  ]);
  const never = await runPod(["--pull", "never", "x"], { hasImage: false });
  assert.deepEqual([never.status, never.calls.length], [125, 0]);
});

test("`cricket run` returns 127, 126 and 125 for what cannot be started, and removes the pod", async () => {
  const cases = [
    ["start container c: exec /nope: ENOENT (step 30 of 30)", 127],
    ["start container c: exec /etc: EACCES (step 30 of 30)", 126],
    ["mount overlay: ENOENT", 125],
  ] as const;
  for (const [message, status] of cases) {
    const ran = await runPod(["x"], { startFails: new CricketError("internal", message) });
    assert.equal(ran.status, status);
    assert.equal(ran.stderr, `cricket: run: ${message}\n`);
    assert.deepEqual(ran.calls, ["run", "create sha256:1", "stop pod", "remove pod"]);
  }
  const refused = await runPod(["x"], {
    createFails: new CricketError("invalid-argument", "config.envs[0].key is empty"),
  });
  assert.deepEqual([refused.status, refused.calls.at(-1)], [125, "remove pod"]);
});

test("`cricket run` stops the container at Ctrl-C, cleans up and returns 130", async () => {
  const { signal, abort } = interruption();
  const ran = await runPod(
    ["x"],
    { waitsForStop: true, onStart: abort, log: record("bye") },
    { interrupted: signal },
  );
  assert.equal(ran.status, 130);
  assert.equal(ran.stdout, "bye\n");
  assert.deepEqual(ran.calls, ["run", "create sha256:1", "start", "stop 5", "stop pod", "remove pod"]);
});

test("`cricket run` removes the pod when Ctrl-C comes before the container", async () => {
  const { signal, abort } = interruption();
  abort();
  const ran = await runPod(["x"], {}, { interrupted: signal });
  assert.equal(ran.status, 130);
  assert.deepEqual(ran.calls, ["run", "stop pod", "remove pod"]);
});

test("`cricket run` stops the container at --timeout and returns 124", async () => {
  const ran = await runPod(["--timeout", "10ms", "--stop-timeout", "0", "x"], { waitsForStop: true });
  assert.equal(ran.status, 124);
  assert.ok(ran.calls.includes("stop 0"));
});

test("`cricket run` says that the memory ran out", async () => {
  const ran = await runPod(["x"], { end: { exitCode: 137, reason: "OOMKilled" } });
  assert.equal(ran.status, 137);
  assert.match(ran.stderr, /out of memory/);
});

test("`cricket run` tells what it could not remove and keeps the program's status", async () => {
  const ran = await runPod(["x"], {
    end: { exitCode: 7 },
    removeFails: new CricketError("internal", "rmdir: EBUSY"),
  });
  assert.equal(ran.status, 7);
  assert.equal(ran.stderr, "cricket: run: not cleaned up: rmdir: EBUSY\n");
  assert.equal(existsSync(ran.logDirectory), false);
});
