// Images of several layers, as a container sees them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { startNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { buildImage, buildLayer, busyboxEntries } from "../support/test-image.ts";

test(
  "layers: whiteouts, opaque directories, and directories that an upper layer does not describe",
  requires("root", "overlay", "package:busybox-static"),
  async () => {
    const node = await startNode();
    try {
      const base = [
        ...busyboxEntries(),
        { name: "gone", content: "x" },
        { name: "old", type: "directory" as const },
        { name: "old/hidden", content: "x" },
        { name: "srv", type: "directory" as const, mode: 0o2750 },
      ];
      const top = [
        { name: ".wh.gone", content: "" },
        { name: "old/.wh..wh..opq", content: "" },
        { name: "old/new", content: "x" },
        // No entries for tmp and srv: they stay as the layer below has them.
        { name: "tmp/file", content: "x" },
        { name: "srv/file", content: "x" },
      ];
      const image = await node.pushAndPull(
        "test/layers",
        buildImage([await buildLayer(base), await buildLayer(top)], { config: { Cmd: ["sh"] } }),
      );
      const pod = await node.runPod("layers");
      const containerId = await pod.start({ name: "main", image, command: ["sleep", "100"] });
      const script = "ls -d /gone 2>/dev/null; ls /old; stat -c '%a %n' /tmp /srv";
      const cmd = ["sh", "-c", script];
      const { stdout } = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(10n) });
      assert.equal(Buffer.from(stdout).toString(), "new\n1777 /tmp\n2750 /srv\n");
      await pod.remove();
    } finally {
      await node.close();
    }
  },
);
