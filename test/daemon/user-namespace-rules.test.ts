// What pods with a user namespace of their own may not have, and how they are given up.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import {
  execIn as execInNode,
  firstHostId as first,
  map,
  options,
  security,
  start,
  userns,
  withPod as withUserNamespacePod,
} from "./user-namespace-pods.ts";

const { POD, CONTAINER, NODE, TARGET } = v1.NamespaceMode;

describe(
  "a pod with a user namespace",
  requires("root", "overlay", "user-namespaces", "package:busybox-static"),
  () => {
    let node: TestNode;
    let directory: string;

    before(async () => {
      node = await startNode();
      directory = mkdtempSync(join(node.daemon.directory, "volumes-"));
    });
    after(async () => {
      await node.close();
    });

    const withPod = (
      name: string,
      namespaceOptions: v1.NamespaceOptionSent,
      body: (pod: TestPod) => Promise<void>,
      more: v1.PodSandboxConfigSent = {},
    ) => withUserNamespacePod(node, { name, namespaceOptions, more }, body);
    const execIn = (containerId: string, script: string) => execInNode(node, containerId, script);
    const ask = async (pod: TestPod, name: string, more: v1.ContainerConfigSent, script: string) =>
      execIn(await start(pod, name, more), script);

    test("gives no right over the host to a privileged container", async () => {
      const privileged = { namespaceOptions: options(), privileged: true };
      await withPod(
        "privileged",
        options(),
        async (pod) => {
          const script =
            "mkdir /m && mount -t tmpfs x /m && echo mounted; echo 1 > /proc/sys/kernel/panic; mknod /n c 1 3";
          const seen = await ask(pod, "main", security(privileged), script);
          assert.match(seen, /^mounted\n.*(denied|not permitted|Read-only).*\n.*not permitted/);
        },
        { linux: { securityContext: { privileged: true } } },
      );
    });

    test("goes on after a restart of the daemon, and can be given up then", async () => {
      await withPod("restart", options(), async (pod) => {
        const containerId = await start(pod, "before");
        await node.daemon.kill();
        await node.daemon.start();
        assert.equal(await execIn(containerId, "id -u; stat -c %u /bin/busybox"), "0\n0\n");
        assert.equal(await ask(pod, "after", security(), "stat -c %u /etc/hosts"), "0\n");
        const { status } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id });
        const { usernsOptions } = status?.linux?.namespaces?.options ?? {};
        assert.deepEqual(
          [usernsOptions?.mode, usernsOptions?.uids[0]?.hostId, usernsOptions?.uids[0]?.length],
          [POD, first, 65_536],
        );
      });
    });

    test("may map few ids, from anywhere", async () => {
      const few = options({ usernsOptions: userns(2_000_000, 3) });
      await withPod("few", few, async (pod) => {
        const seen = await ask(
          pod,
          "main",
          security({ namespaceOptions: few, supplementalGroupsPolicy: v1.SupplementalGroupsPolicy.Strict }),
          "cat /proc/sys/net/ipv4/ping_group_range | tr '\\t' ' '; stat -c %u /etc/hosts; ls /dev/pts",
        );
        assert.equal(seen, "0 2\n0\nptmx\n");
      });
    });

    test("leaves no volume busy", async () => {
      const hostPath = join(directory, "busy");
      mkdirSync(hostPath);
      execFileSync("mount", ["-t", "tmpfs", "cricket-busy", hostPath]);
      // Without mappings: a tmpfs can be idmapped only from Linux 6.3 on.
      const mount = { hostPath, containerPath: "/v" };
      await withPod("busy", options(), async (pod) => {
        const containerId = await start(pod, "main", { ...security(), mounts: [mount] });
        await node.runtime.stopContainer({ containerId, timeout: toInt64(0n) });
        // Not a lazy unmount: whoever held it would make this fail.
        execFileSync("umount", [hostPath]);
      });
    });

    const refused: [what: string, usernsOptions: v1.UserNamespaceSent, message: RegExp][] = [
      [
        "more than one mapping",
        { mode: POD, uids: [...map(1000), ...map(2000)], gids: map(1000) },
        /uids has 2 mappings/,
      ],
      ["no mapping", { mode: POD, uids: map(1000), gids: [] }, /gids has 0 mappings/],
      [
        "id 0 unmapped",
        { mode: POD, uids: map(1000, 10, 1), gids: map(1000, 10, 1) },
        /id 0 has to be mapped/,
      ],
      ["an empty mapping", { mode: POD, uids: map(1000, 0), gids: map(1000) }, /length is 0/],
      ["mode CONTAINER", { mode: CONTAINER }, /mode is CONTAINER/],
      ["mode TARGET", { mode: TARGET }, /mode is TARGET/],
      ["mappings with mode NODE", { mode: NODE, uids: map(1000) }, /mode is NODE/],
    ];
    for (const [what, usernsOptions, message] of refused)
      test(`is refused with ${what}`, async () => {
        const linux = { securityContext: { namespaceOptions: options({ usernsOptions }) } };
        await assert.rejects(node.runPod("refused", { more: { linux } }), message);
        assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
      });

    test("refuses a container with another user namespace, or with mounts that travel to the host", async () => {
      const other: [v1.UserNamespaceSent | undefined, RegExp][] = [
        [undefined, /userns_options is not the same/],
        [{ mode: NODE }, /userns_options is not the same/],
        [userns(first + 1), /userns_options is not the same/],
      ];
      await withPod("mismatch", options(), async (pod) => {
        for (const [usernsOptions, message] of other) {
          const { usernsOptions: _own, ...rest } = options();
          const namespaceOptions = usernsOptions === undefined ? rest : { ...rest, usernsOptions };
          await assert.rejects(pod.create({ name: "main", more: security({ namespaceOptions }) }), message);
        }
        const propagation = v1.MountPropagation.PROPAGATION_BIDIRECTIONAL;
        const mounts = [{ hostPath: directory, containerPath: "/v", propagation }];
        await assert.rejects(pod.create({ name: "both", more: { ...security(), mounts } }), /BIDIRECTIONAL/);
      });
      const { usernsOptions: _none, ...plain } = options();
      await withPod("plain", plain, async (pod) => {
        await assert.rejects(
          pod.create({ name: "main", more: security() }),
          /userns_options is not the same/,
        );
        const node_ = security({ namespaceOptions: { ...plain, usernsOptions: { mode: NODE } } });
        assert.match(await ask(pod, "node", node_, "cat /proc/self/uid_map"), /4294967295/);
      });
      assert.deepEqual(readdirSync(join(node.daemon.runRoot, "containers")), []);
    });
  },
);
