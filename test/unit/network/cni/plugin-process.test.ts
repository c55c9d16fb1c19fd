import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { runPlugin } from "../../../../src/network/cni/plugin-process.ts";

/** Holds this process up, as a large piece of work would. */
function holdUntil(isMet: () => boolean): void {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  while (!isMet()) Atomics.wait(sleeper, 0, 0, 5);
}

function stateOf(pid: number): string | undefined {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
  return stat.slice(stat.lastIndexOf(")") + 2)[0];
}

// All children that have ended are seen at once, with the first signal that tells of one: also those whose output came
// only after the loop had asked which descriptors are readable.
test("`runPlugin()` reads the output of a plugin that ended while the process was held up", async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "cricket-plugin-"));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const file = (name: string): string => path.join(directory, name);
  const plugin = `#!/bin/sh\necho $$ >'${file("new")}'; mv '${file("new")}' '${file("pid")}'
while ! [ -e '${file("go")}' ]; do sleep 0.01; done\necho '{"result":1}'\n`;
  fs.writeFileSync(file("plugin"), plugin, { mode: 0o755 });
  const request = { type: "slow", command: "ADD", variables: {}, config: "{}", timeoutMs: 30_000 } as const;
  const output = runPlugin({ ...request, path: file("plugin") });
  while (!fs.existsSync(file("pid"))) await new Promise((resolve) => setTimeout(resolve, 10));
  const pluginPid = Number(fs.readFileSync(file("pid"), "utf8"));

  // Its output and its end come in one turn of the loop; the plugin ends between the two.
  const other = spawn("/bin/sh", ["-c", "echo x"], { stdio: ["ignore", "pipe", "ignore"] });
  other.stdout.once("data", () => {
    fs.writeFileSync(file("go"), "");
    holdUntil(() => stateOf(pluginPid) === "Z");
  });
  // Told after the plugin's end, which was the end of an older child; longer than a plugin's pipes are waited for.
  other.once("exit", () => {
    const late = performance.now() + 700;
    holdUntil(() => performance.now() > late);
  });
  const ended = once(other, "exit");
  holdUntil(() => stateOf(other.pid ?? 0) === "Z");
  await ended;
  assert.deepEqual(await output, { stdout: '{"result":1}\n', stderr: "" });
});
