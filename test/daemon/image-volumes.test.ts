// Images as volumes (KEP-4639), and the volumes that an image declares for itself.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { buildImage, buildLayer, busyboxEntries, skeletonEntries } from "../support/test-image.ts";

const { POD, CONTAINER } = v1.NamespaceMode;
const needs = ["root", "overlay", "package:busybox-static"] as const;

async function execIn(node: TestNode, containerId: string, script: string): Promise<string> {
  const cmd = ["sh", "-c", script];
  const { stdout, stderr } = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(20n) });
  return Buffer.concat([stdout, stderr]).toString();
}

async function withPod(
  node: TestNode,
  name: string,
  body: (pod: TestPod) => Promise<void>,
  more = {},
): Promise<void> {
  const pod = await node.runPod(name, { more });
  try {
    await body(pod);
  } finally {
    await pod.remove();
  }
}

const start = (pod: TestPod, name: string, more: v1.ContainerConfigSent, image = pod.node.image) =>
  pod.start({ name, image, command: ["sleep", "1000"], more });

describe("an image as a volume", requires(...needs), () => {
  let node: TestNode;
  let model: string;
  let modelId: string;

  before(async () => {
    node = await startNode();
    const below = await buildLayer([
      { name: "weights/", type: "directory", mode: 0o755, uid: 1000, gid: 1000 },
      { name: "weights/old", content: "gone" },
      { name: "weights/model.bin", content: "below" },
      { name: "secret", content: "0600", mode: 0o600 },
    ]);
    const above = await buildLayer([
      { name: "weights/.wh.old" },
      { name: "weights/model.bin", content: "above", uid: 1000, gid: 1000 },
      { name: "bin/", type: "directory" },
      { name: "bin/hello", content: "#!/bin/sh\necho hello\n", mode: 0o755 },
      { name: "out", type: "symlink", linkname: "../../../../../../etc" },
      { name: "inside", type: "symlink", linkname: "/weights" },
      { name: "loop", type: "symlink", linkname: "loop" },
    ]);
    model = await node.pushAndPull("test/model", buildImage([below, above]));
    modelId = (await node.daemon.client.image.imageStatus({ image: { image: model } })).image?.id ?? "";
  });
  after(async () => {
    await node.close();
  });

  const volume = (containerPath: string, imageSubPath = "", more: v1.MountSent = {}): v1.MountSent => ({
    containerPath,
    image: { image: modelId, userSpecifiedImage: model },
    imageSubPath,
    readonly: true,
    ...more,
  });

  test("shows all of its layers, can be executed and never written to", async () => {
    await withPod(node, "whole", async (pod) => {
      const script = `ls /model /model/weights; cat /model/weights/model.bin; echo; /model/bin/hello
        touch /model/x; mount -o remount,rw /model; grep -c ' /model ro,' /proc/self/mountinfo`;
      const containerId = await start(pod, "main", { mounts: [volume("/model")] });
      const seen = await execIn(node, containerId, script);
      assert.match(
        seen,
        /^\/model:\nbin\ninside\nloop\nout\nsecret\nweights\n\n\/model\/weights:\nmodel.bin\nabove\nhello\n1\n/,
      );
      assert.match(seen, /touch: \/model\/x: Read-only file system/);
    });
  });

  test("is reported with what was asked for, and with its digest", async () => {
    await withPod(node, "status", async (pod) => {
      const containerId = await pod.create({ name: "main", more: { mounts: [volume("/model", "weights")] } });
      const { status } = await node.runtime.containerStatus({ containerId });
      const [mount] = status?.mounts ?? [];
      assert.deepEqual(
        [
          mount?.containerPath,
          mount?.image?.image,
          mount?.image?.userSpecifiedImage,
          mount?.image?.imageRef,
          mount?.imageSubPath,
        ],
        ["/model", modelId, model, modelId, "weights"],
      );
    });
  });

  test("can be a directory or a file of it, links in the image staying in the image", async () => {
    await withPod(node, "sub", async (pod) => {
      const mounts = [
        volume("/dir", "weights"),
        volume("/file", "weights/model.bin"),
        volume("/link", "inside/model.bin"),
        volume("/both", "", { recursiveReadOnly: true }),
      ];
      const containerId = await start(pod, "main", { mounts });
      const seen = await execIn(
        node,
        containerId,
        "ls /dir; cat /file /link /both/weights/model.bin; touch /dir/x /file /both/x",
      );
      assert.match(seen, /^model.bin\naboveaboveabove/);
      assert.equal(seen.match(/Read-only file system/g)?.length, 3);
    });
  });

  test("leaves other mounts of the container alone, whose sub-path is in their host path already", async () => {
    await withPod(node, "beside", async (pod) => {
      const other = {
        containerPath: "/file",
        hostPath: "/etc/hostname",
        imageSubPath: "hostname",
        readonly: true,
      };
      const containerId = await start(pod, "main", { mounts: [volume("/model"), other] });
      assert.equal(await execIn(node, containerId, "cat /file"), readFileSync("/etc/hostname", "utf8"));
    });
  });

  test("that cannot be mounted is refused with the kubelet's prefix, and leaves nothing", async () => {
    const refused: [mount: v1.MountSent, message: RegExp][] = [
      [
        volume("/v", "no/such"),
        /^ImageVolumeMountFailed: create container main: mount \/v: image_sub_path "no\/such": ENOENT/,
      ],
      [volume("/v", "weights/model.bin/x"), /ImageVolumeMountFailed: .*ENOTDIR/],
      [volume("/v", "loop"), /ImageVolumeMountFailed: .*ELOOP/],
      // Its link leads to the image's own /etc, which it does not have.
      [volume("/v", "out/passwd"), /ImageVolumeMountFailed: .*ENOENT/],
      [
        volume("/v", "", { image: { image: "registry.test/none:1" } }),
        /ImageVolumeMountFailed: .*not on this node/,
      ],
      [volume("/v", "../etc"), /image_sub_path .*contains "\.\."/],
      [volume("/v", "/etc"), /image_sub_path/],
      [volume("/v", "", { readonly: false }), /readonly is false: images are mounted read-only/],
      [volume("/v", "", { hostPath: "/etc" }), /host_path is given together with image/],
    ];
    await withPod(node, "refused", async (pod) => {
      for (const [mount, message] of refused)
        await assert.rejects(pod.create({ name: "main", more: { mounts: [mount] } }), { message });
      assert.deepEqual((await node.runtime.listContainers({})).containers, []);
    });
  });

  test("stays on the node as long as a container has it, also after a restart", async () => {
    const image = { image: model };
    await withPod(node, "held", async (pod) => {
      const containerId = await start(pod, "main", { mounts: [volume("/model")] });
      await assert.rejects(node.daemon.client.image.removeImage({ image }), /in use/);
      await node.daemon.kill();
      await node.daemon.start();
      await assert.rejects(node.daemon.client.image.removeImage({ image }), /in use/);
      assert.equal(await execIn(node, containerId, "cat /model/weights/model.bin"), "above");
      await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
      await assert.rejects(node.daemon.client.image.removeImage({ image }), /in use/);
      await node.runtime.removeContainer({ containerId });
    });
    await node.daemon.client.image.removeImage({ image });
    await withPod(node, "gone", async (pod) => {
      await assert.rejects(
        pod.create({ name: "main", more: { mounts: [volume("/model")] } }),
        /ImageVolumeMountFailed/,
      );
    });
    await node.daemon.client.image.pullImage({ image });
  });

  test("has the ids of a pod's user namespace", requires("user-namespaces"), async () => {
    const ids = [{ hostId: 1_000_000, containerId: 0, length: 65_536 }];
    const namespaceOptions = { pid: CONTAINER, usernsOptions: { mode: POD, uids: ids, gids: ids } };
    const linux = { securityContext: { namespaceOptions } };
    await withPod(
      node,
      "mapped",
      async (pod) => {
        const mapped = { uidMappings: ids, gidMappings: ids };
        const mounts = [volume("/model"), volume("/dir", "weights", mapped)];
        const containerId = await start(pod, "main", { linux, mounts });
        const script =
          "stat -c %u /model/secret /model/weights /dir/model.bin; cat /model/secret; touch /model/x";
        assert.match(await execIn(node, containerId, script), /^0\n1000\n1000\n0600.*Read-only/);
      },
      { linux },
    );
  });
});

const declared = { "/data": {}, "/data/deep/": {}, "/made": {}, "/../../escape": {}, "/proc/x": {} };

async function pushDeclaring(node: TestNode): Promise<string> {
  const layer = await buildLayer([
    ...skeletonEntries(),
    ...busyboxEntries(),
    { name: "data/", type: "directory", mode: 0o1770, uid: 5, gid: 6 },
    { name: "data/file", content: "of the image", mode: 0o640, uid: 7, gid: 8 },
    { name: "data/link", type: "symlink", linkname: "/etc/passwd" },
    { name: "data/deep/", type: "directory" },
    { name: "data/deep/er", content: "deep" },
  ]);
  return node.pushAndPull("test/declaring", buildImage([layer], { config: { Volumes: declared } }));
}

describe("the volumes that an image declares", requires(...needs), () => {
  const show = `stat -c '%a %u:%g' /data /data/file; cat /data/file /data/deep/er; echo; readlink /data/link
    ls -d /made /escape; touch /data/new /made/new 2>&1; touch /x 2>&1; grep -c -E ' /(data|data/deep|made|escape) ' /proc/self/mountinfo`;
  const readonlyRoot = {
    linux: { securityContext: { namespaceOptions: { pid: CONTAINER }, readonlyRootfs: true } },
  };

  test("are directories of the host, with what the image has there, and go with the container", async () => {
    const node = await startNode();
    try {
      const image = await pushDeclaring(node);
      await withPod(node, "bind", async (pod) => {
        const containerId = await start(pod, "main", readonlyRoot, image);
        const seen = await execIn(node, containerId, show);
        assert.equal(
          seen,
          "1770 5:6\n640 7:8\nof the imagedeep\n/etc/passwd\n/escape\n/made\ntouch: /x: Read-only file system\n4\n",
        );
        const directory = join(node.daemon.stateRoot, "containers", containerId, "volumes");
        assert.ok(existsSync(join(directory, "0/new")), "on the host's filesystem");
        const other = await start(pod, "other", {}, image);
        assert.equal(await execIn(node, other, "ls /data"), "deep\nfile\nlink\n");
        await node.runtime.removeContainer({ containerId });
        assert.equal(existsSync(directory), false);
      });
    } finally {
      await node.close();
    }
  });

  test("give way to mounts of the request", async () => {
    const node = await startNode();
    try {
      const image = await pushDeclaring(node);
      const hostPath = mkdtempSync(join(node.daemon.directory, "volume-"));
      writeFileSync(join(hostPath, "mine"), "");
      await withPod(node, "mounts", async (pod) => {
        const mounts = [{ hostPath, containerPath: "/data/" }];
        const containerId = await start(pod, "main", { mounts }, image);
        // The one inside stays a volume of its own, now in the directory of the host.
        assert.equal(
          await execIn(node, containerId, "ls /data; ls /data/deep; ls -d /made"),
          "deep\nmine\n/made\n",
        );
      });
    } finally {
      await node.close();
    }
  });

  test("belong to the root of a pod's user namespace", requires("user-namespaces"), async () => {
    const node = await startNode();
    try {
      const image = await pushDeclaring(node);
      const ids = [{ hostId: 1_000_000, containerId: 0, length: 65_536 }];
      const namespaceOptions = { pid: CONTAINER, usernsOptions: { mode: POD, uids: ids, gids: ids } };
      const linux = { securityContext: { namespaceOptions } };
      await withPod(
        node,
        "mapped",
        async (pod) => {
          const containerId = await start(pod, "main", { linux }, image);
          const seen = await execIn(
            node,
            containerId,
            "stat -c '%a %u:%g' /data /data/file /made; touch /data/new /made/new && echo ok",
          );
          assert.equal(seen, "1770 5:6\n640 7:8\n755 0:0\nok\n");
          const volumes = join(node.daemon.stateRoot, "containers", containerId, "volumes");
          assert.equal(statSync(join(volumes, "0/file")).uid, 1_000_007);
        },
        { linux },
      );
    } finally {
      await node.close();
    }
  });

  for (const [policy, expected] of [
    ["mkdir", "/data\n/escape\n/made\n0\n"],
    ["ignore", "ls: /escape: No such file or directory\nls: /made: No such file or directory\n/data\n0\n"],
  ] as const)
    test(`can be told to "${policy}"`, async () => {
      const node = await startNode({ settings: { "container.image_volumes": policy } });
      try {
        const image = await pushDeclaring(node);
        await withPod(node, policy, async (pod) => {
          const containerId = await start(pod, "main", {}, image);
          const script =
            "ls -d /data /escape /made 2>&1; grep -c -E ' /(data|made|escape) ' /proc/self/mountinfo";
          assert.equal(await execIn(node, containerId, script), expected);
        });
      } finally {
        await node.close();
      }
    });
});
