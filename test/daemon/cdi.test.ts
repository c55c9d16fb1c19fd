// CDI devices, as the processes inside see them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import type { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { TestPlugin } from "../support/nri-plugin.ts";
import { requires } from "../support/requires.ts";
import { execIn, security, withPod as withUserNamespacePod } from "./user-namespace-pods.ts";

describe("a CDI device", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  let pod: TestPod;
  let specDir: string;

  const write = (name: string, document: object): void =>
    writeFileSync(path.join(specDir, name), JSON.stringify(document));

  before(async () => {
    node = await startNode();
    specDir = path.join(node.daemon.directory, "cdi");
    mkdirSync(specDir);
    const library = path.join(node.daemon.directory, "library");
    writeFileSync(library, "from the vendor\n");
    write("vendor.json", {
      cdiVersion: "0.7.0",
      kind: "vendor.com/gpu",
      containerEdits: {
        env: ["VENDOR=yes"],
        mounts: [{ hostPath: library, containerPath: "/vendor/library", options: ["ro", "bind"] }],
      },
      devices: [
        {
          name: "0",
          containerEdits: {
            deviceNodes: [{ path: "/dev/gpu0", hostPath: "/dev/full", permissions: "rw" }],
            additionalGids: [4242],
            hooks: [
              {
                hookName: "startContainer",
                path: "/bin/sh",
                args: ["sh", "-c", "echo gpu0 >> /hooked"],
                env: ["PATH=/bin"],
              },
            ],
          },
        },
        { name: "1", containerEdits: { env: ["GPU1=yes"] } },
      ],
    });
    pod = await node.runPod("cdi");
  });
  after(async () => {
    await pod.remove();
    await node.close();
  });

  let count = 0;
  const ask = async (more: v1.ContainerConfigSent, script: string): Promise<string> => {
    const containerId = await pod.start({ name: `c${count++}`, command: ["sleep", "1000"], more });
    const { stdout, stderr } = await node.runtime.execSync({
      containerId,
      cmd: ["sh", "-c", script],
      timeout: toInt64(10n),
    });
    return Buffer.concat([stdout, stderr]).toString();
  };
  const look = "env; cat /vendor/library /hooked; id -G; ls -l /dev/gpu0; echo x > /dev/gpu0";

  test("of the CRI field brings node, environment, mount, groups and hooks", async () => {
    const seen = await ask({ CDIDevices: [{ name: "vendor.com/gpu=0" }] }, look);
    assert.match(seen, /^VENDOR=yes$/m);
    assert.match(seen, /^from the vendor$/m);
    assert.match(seen, /^gpu0$/m);
    assert.match(seen, /\b4242\b/);
    assert.match(seen, / 1, +7 .*\/dev\/gpu0$/m);
    assert.match(seen, /No space left on device/);
    assert.doesNotMatch(seen, /GPU1/);
  });

  test("belongs to root inside where the pod has a user namespace", requires("user-namespaces"), async () => {
    await withUserNamespacePod(node, { name: "cdi-userns" }, async (mapped) => {
      const more = { ...security(), CDIDevices: [{ name: "vendor.com/gpu=1" }] };
      const containerId = await mapped.start({ name: "main", command: ["sleep", "1000"], more });
      const seen = await execIn(node, containerId, "stat -c '%u %g' /vendor/library; cat /vendor/library");
      assert.equal(seen, "0 0\nfrom the vendor\n");
    });
  });

  test("of an annotation comes beside that of the field", async () => {
    const seen = await ask(
      { CDIDevices: [{ name: "vendor.com/gpu=0" }], annotations: { "cdi.k8s.io/x": "vendor.com/gpu=1" } },
      look,
    );
    assert.match(seen, /^GPU1=yes$/m);
    assert.equal(seen.match(/VENDOR=yes/g)?.length, 1);
  });

  test("of an NRI plugin is there, and plugins see those of the CRI", async () => {
    const seenByPlugin: string[] = [];
    const plugin = await TestPlugin.connect(node.daemon.nriSocket, "10-cdi", {
      CreateContainer: ({ container }) => {
        seenByPlugin.push(...(container?.linux?.devices.map((device) => device.path) ?? []));
        return { adjust: { cdiDevices: [{ name: "vendor.com/gpu=1" }] } };
      },
    });
    const seen = await ask({ CDIDevices: [{ name: "vendor.com/gpu=0" }] }, look);
    assert.match(seen, /^GPU1=yes$/m);
    assert.deepEqual(seenByPlugin, ["/dev/gpu0"]);
    plugin.close();
    await plugin.closed;
  });

  test(
    "brings a network device, also to the container that comes after",
    requires("package:iproute2"),
    async () => {
      const name = `cd${process.pid % 100_000}`;
      const ip = (...words: string[]): string =>
        execFileSync("ip", words, { encoding: "utf8", stdio: "pipe" });
      write("net.json", {
        cdiVersion: "1.1.0",
        kind: "vendor.com/net",
        devices: [
          { name: "0", containerEdits: { netDevices: [{ hostInterfaceName: name, name: "vendor0" }] } },
          {
            name: "broken",
            containerEdits: {
              netDevices: [{ hostInterfaceName: name, name: "vendor0" }],
              hooks: [{ hookName: "createRuntime", path: "/bin/false" }],
            },
          },
        ],
      });
      ip("link", "add", name, "type", "veth", "peer", "name", `${name}p`);
      try {
        ip("address", "add", "192.0.2.9/32", "dev", name);
        const broken = { CDIDevices: [{ name: "vendor.com/net=broken" }] };
        await assert.rejects(
          pod.create({ name: "broken", command: ["sleep", "1"], more: broken }),
          /createRuntime hook/,
        );
        assert.match(ip("-oneline", "address", "show", "dev", name), /192\.0\.2\.9/);
        const more = { CDIDevices: [{ name: "vendor.com/net=0" }] };
        assert.match(await ask(more, "ip addr show vendor0"), /192\.0\.2\.9/);
        assert.throws(() => ip("link", "show", name));
        assert.match(await ask(more, "ip addr show vendor0"), /192\.0\.2\.9/);
      } finally {
        try {
          ip("link", "delete", `${name}p`);
        } catch {
          // It went with its peer.
        }
      }
    },
  );

  test("that cannot be found refuses the container by name, until its file comes", async () => {
    const more = { CDIDevices: [{ name: "vendor.com/late=0" }] };
    const create = () => pod.create({ name: "late", command: ["sleep", "1000"], more });
    await assert.rejects(create(), /CDI device vendor.com\/late=0 is in no file of/);
    write("late.json", {
      cdiVersion: "0.5.0",
      kind: "vendor.com/late",
      devices: [{ name: "0", containerEdits: { deviceNodes: [{ path: "/dev/nowhere" }] } }],
    });
    await assert.rejects(create(), /vendor.com\/late=0: \/dev\/nowhere is not a device of this host/);
    rmSync(path.join(specDir, "late.json"));
    writeFileSync(
      path.join(specDir, "late.yaml"),
      'cdiVersion: "0.5.0"\nkind: vendor.com/late\ndevices: [{name: "0", containerEdits: {env: [A=b]}}]\n',
    );
    assert.match(await ask(more, "env"), /^A=b$/m);
  });
});
