// OCI hooks that an NRI plugin puts into a container.
import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import type { v1 as nri } from "../../cri-api/nri/v1/api.js";
import { nriSuite, sleeping } from "../support/nri-suite.ts";
import { requires } from "../support/requires.ts";

async function untilText(file: string, expected: RegExp): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!expected.test(readFileSync(file, "utf8"))) {
    if (Date.now() > deadline) assert.match(readFileSync(file, "utf8"), expected);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("an NRI plugin", requires("root", "overlay", "package:busybox-static"), () => {
  const suite = nriSuite();
  const { withPlugin, ask } = suite;

  test("brings OCI hooks, of every kind", async () => {
    const record = path.join(suite.node.daemon.directory, "hooks");
    const script = path.join(suite.node.daemon.directory, "hook.sh");
    // Those in the container write what they see to its own root.
    writeFileSync(
      script,
      `#!/bin/sh\nstate=$(cat)\ncase $1 in startContainer) out=/hooks;; *) out=${record};; esac\n` +
        `echo "$1 $(echo "$state" | sed 's/.*"status":"\\([a-z]*\\)".*/\\1/')" >> $out\n`,
    );
    chmodSync(script, 0o755);
    const hook = (kind: string): { [kind]: nri.HookSent[] } => ({
      [kind]: [
        {
          path: "/bin/sh",
          args: ["sh", script, kind],
          env: ["PATH=/bin:/usr/bin"],
          timeout: { value: toInt64(5n) },
        },
      ],
    });
    const kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    const inside: nri.HookSent = {
      path: "/bin/sh",
      args: ["sh", "-c", 'cat > /state; grep -i "^SigIgn" /proc/self/status > /signals'],
    };
    const hooks = Object.assign({ startContainer: [inside] }, ...kinds.map(hook)) as nri.HooksSent;
    await withPlugin("10-hooks", { CreateContainer: () => ({ adjust: { hooks } }) }, async (_plugin, pod) => {
      const containerId = await pod.create({ name: "main", ...sleeping });
      assert.equal(
        readFileSync(record, "utf8"),
        "prestart creating\ncreateRuntime creating\ncreateContainer creating\n",
      );
      await suite.node.runtime.startContainer({ containerId });
      const state = JSON.parse(await ask(containerId, "cat /state")) as Record<string, unknown>;
      assert.equal(state["id"], containerId);
      assert.equal(state["status"], "created");
      // Those of any shell: the monitor ignores signals, and none of that is passed on.
      assert.equal(
        await ask(containerId, "cat /signals"),
        await ask(containerId, 'grep -i "^SigIgn" /proc/self/status'),
      );
      await suite.node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
      await untilText(record, /poststart running\npoststop stopped\n$/);
    });
  });

  test("whose hook fails refuses the container, and nothing is left", async () => {
    for (const kind of ["createRuntime", "createContainer"]) {
      const hooks = { [kind]: [{ path: "/bin/false" }] };
      await withPlugin(
        "10-fails",
        { CreateContainer: () => ({ adjust: { hooks } }) },
        async (_plugin, pod) => {
          await assert.rejects(pod.create({ name: "main", ...sleeping }), /hook/);
          assert.deepEqual((await suite.node.runtime.listContainers({})).containers, []);
        },
      );
    }
    const hooks = { startContainer: [{ path: "/bin/false" }] };
    await withPlugin("10-fails", { CreateContainer: () => ({ adjust: { hooks } }) }, async (_plugin, pod) => {
      await assert.rejects(pod.start({ name: "main", ...sleeping }), /hook failed/);
    });
  });
});
