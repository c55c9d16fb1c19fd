// Classes of block I/O and RDT: by annotations, and by NRI plugins.
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { blockDevice } from "../support/block-device.ts";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { TestPlugin } from "../support/nri-plugin.ts";
import { sleeping } from "../support/nri-suite.ts";
import { requires } from "../support/requires.ts";

const blockIo = "blockio.resources.beta.kubernetes.io";
const rdt = "rdt.resources.beta.kubernetes.io";

describe("classes", requires("root", "overlay", "block-device", "package:busybox-static"), () => {
  let node: TestNode;
  let directory: string;
  let configFile: string;
  let resctrl: string;

  before(async () => {
    directory = mkdtempSync(path.join(tmpdir(), "cricket-classes-"));
    configFile = path.join(directory, "blockio.yaml");
    writeFileSync(
      configFile,
      `Classes:\n  slow:\n    - Devices: [${blockDevice()?.node}]\n      ThrottleReadBps: 1Mi\n`,
    );
    // Stands for a mounted resctrl: no test machine has the hardware. The kernel would fill new groups.
    resctrl = path.join(directory, "resctrl");
    for (const group of ["", "gold", "silver"]) {
      mkdirSync(path.join(resctrl, group), { recursive: true });
      writeFileSync(path.join(resctrl, group, "tasks"), "");
      writeFileSync(path.join(resctrl, group, "schemata"), "L3:0=f\n");
    }
    node = await startNode({
      settings: { "blockio.config_file": configFile, "rdt.resctrl_path": resctrl },
    });
  });
  after(async () => {
    await node.close();
    rmSync(directory, { recursive: true });
  });

  const withPod = async (
    annotations: Record<string, string>,
    body: (pod: TestPod) => Promise<void>,
  ): Promise<void> => {
    const pod = await node.runPod("classes", { more: { annotations } });
    try {
      await body(pod);
    } finally {
      await pod.remove();
    }
  };

  const withPlugin = async (answer: object, body: () => Promise<void>): Promise<void> => {
    const plugin = await TestPlugin.connect(node.daemon.nriSocket, "10-classes", {
      CreateContainer: () => ({ adjust: { linux: answer } }),
      UpdateContainer: ({ container }) => ({
        update: [{ containerId: container?.id ?? "", linux: answer }],
      }),
    });
    try {
      await body();
    } finally {
      plugin.close();
    }
  };

  /** The limit of reading as the kernel has it, or "". */
  const readLimit = async (containerId: string): Promise<string> => {
    const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
    const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
    const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
    const v1 = lines.find((line) => line.split(":")[1]?.split(",").includes("blkio") === true);
    const file =
      v1 === undefined
        ? path.join("/sys/fs/cgroup", lines.find((line) => line.startsWith("0::"))!.slice(3), "io.max")
        : path.join("/sys/fs/cgroup/blkio", v1.split(":")[2]!, "blkio.throttle.read_bps_device");
    return readFileSync(file, "utf8");
  };
  const limited = /^\d+:\d+ (?:rbps=)?1048576\b/;

  test("of block I/O come from the annotations of the pod, one container before all", async () => {
    await withPod({ [`${blockIo}/pod`]: "slow", [`${blockIo}/container.free`]: "" }, async (pod) => {
      assert.match(await readLimit(await pod.start({ name: "main", ...sleeping })), limited);
      assert.equal(await readLimit(await pod.start({ name: "free", ...sleeping })), "");
    });
  });

  test("of block I/O come from the container's own annotation", async () => {
    await withPod({ [`${blockIo}/pod`]: "nothing" }, async (pod) => {
      const more = { annotations: { "io.kubernetes.cri.blockio-class": "slow" } };
      assert.match(await readLimit(await pod.start({ name: "main", ...sleeping, more })), limited);
    });
  });

  test("that there are not refuse the container by name, and nothing is left", async () => {
    await withPod({ [`${blockIo}/pod`]: "nothing", [`${rdt}/container.other`]: "lead" }, async (pod) => {
      await assert.rejects(pod.create({ name: "main", ...sleeping }), /block I\/O class nothing is not in/);
      const more = { annotations: { "io.kubernetes.cri.blockio-class": "" } };
      await assert.rejects(
        pod.create({ name: "other", ...sleeping, more }),
        /RDT class lead: there is no group .*resctrl\/lead/,
      );
    });
    assert.deepEqual((await node.runtime.listContainers({})).containers, []);
  });

  test("of block I/O come from plugins, and those of annotations can be taken away", async () => {
    await withPlugin({ resources: { blockioClass: { value: "slow" } } }, async () => {
      await withPod({}, async (pod) => {
        const containerId = await pod.start({ name: "main", ...sleeping });
        assert.match(await readLimit(containerId), limited);
        await assert.rejects(
          node.runtime.updateContainerResources({ containerId, linux: { cpusetCpus: "0" } }),
          /changes the block I\/O class of a container that exists/,
        );
      });
    });
    await withPlugin({ resources: { blockioClass: { value: "" } } }, async () => {
      await withPod({ [`${blockIo}/pod`]: "slow" }, async (pod) => {
        assert.equal(await readLimit(await pod.start({ name: "main", ...sleeping })), "");
      });
    });
  });

  /** What entered the group since it was asked last. */
  const entered = (group: string): string => {
    const tasks = path.join(resctrl, group, "tasks");
    const text = readFileSync(tasks, "utf8");
    writeFileSync(tasks, "");
    return text;
  };

  test("of RDT are entered by the container and by what is executed in it", async () => {
    await withPod({ [`${rdt}/pod`]: "gold" }, async (pod) => {
      const containerId = await pod.start({ name: "main", ...sleeping });
      // The new process names itself.
      assert.equal(entered("gold"), "0");
      assert.equal((await node.runtime.execSync({ containerId, cmd: ["true"] })).exitCode, 0);
      assert.equal(entered("gold"), "0");
    });
    assert.ok(existsSync(path.join(resctrl, "gold")));
  });

  test("of RDT come from plugins, in place of those of annotations", async () => {
    await withPlugin({ resources: { rdtClass: { value: "silver" } } }, async () => {
      await withPod({ [`${rdt}/pod`]: "gold" }, async (pod) => {
        await pod.start({ name: "main", ...sleeping });
        assert.deepEqual([entered("gold"), entered("silver")], ["", "0"]);
      });
    });
    await withPlugin({ rdt: { closId: { value: "silver" }, schemata: { value: ["L3:0=f"] } } }, async () => {
      await withPod({}, async (pod) => {
        await pod.start({ name: "main", ...sleeping });
        assert.equal(entered("silver"), "0");
      });
    });
    await withPlugin({ rdt: { remove: true } }, async () => {
      await withPod({ [`${rdt}/pod`]: "gold" }, async (pod) => {
        await pod.start({ name: "main", ...sleeping });
        assert.equal(entered("gold"), "");
      });
    });
  });

  test("of RDT with other schemata than a plugin wants refuse the container", async () => {
    await withPlugin({ rdt: { closId: { value: "gold" }, schemata: { value: ["L3:0=1"] } } }, async () => {
      await withPod({}, async (pod) => {
        await assert.rejects(pod.create({ name: "main", ...sleeping }), /has other schemata for L3:0/);
      });
    });
  });

  test("groups of a container's own are gone where it could not be made", async () => {
    await withPlugin(
      { rdt: { enableMonitoring: { value: true }, schemata: { value: ["L3:0=1"] } } },
      async () => {
        await withPod({}, async (pod) => {
          // The stand-in has no `schemata` in a new group.
          await assert.rejects(
            pod.create({ name: "main", ...sleeping }),
            /resctrl\/[0-9a-f]{64}\/schemata: ENOENT/,
          );
        });
      },
    );
    assert.equal(readGroups(resctrl), "gold,silver");
  });
});

function readGroups(resctrl: string): string {
  return readdirSync(resctrl, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted()
    .join();
}
