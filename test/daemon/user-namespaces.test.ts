// Pods with a user namespace of their own, as the processes inside and the host see them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fromInt64, toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { isAtLeast, kernelRelease } from "../../src/linux/kernel-release.ts";
import { startNode, untilExited, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { connectCommand, readAll } from "./streaming-client.ts";
import {
  execIn as execInNode,
  firstHostId as first,
  map,
  options,
  security,
  start,
  withPod as withUserNamespacePod,
} from "./user-namespace-pods.ts";

const { POD, NODE, TARGET } = v1.NamespaceMode;

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

    const initOf = async (containerId: string): Promise<number> => {
      const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
      return (JSON.parse(info["info"] ?? "{}") as { pid: number }).pid;
    };

    test("is advertised for every handler", async () => {
      const { runtimeHandlers, features } = await node.runtime.status({});
      assert.ok(runtimeHandlers.some(({ name }) => name === ""));
      for (const handler of runtimeHandlers.filter(({ name }) => name === "" || name === "cricket")) {
        assert.equal(handler.features?.userNamespaces, true);
        assert.equal(handler.features?.recursiveReadOnlyMounts, true);
      }
      assert.equal(features?.userNamespacesHostNetwork, true);
      assert.equal(features?.supplementalGroupsPolicy, true);
    });

    test("has root inside that is nobody on the host, and owns all of its files", async () => {
      await withPod("root", options(), async (pod) => {
        const containerId = await start(pod, "main");
        const seen = await execIn(
          containerId,
          `cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; id -u
        stat -c %u:%g / /bin/busybox /etc/hosts /etc/hostname /etc/resolv.conf /dev/shm /dev
        echo x >> /etc/hosts && touch /new /dev/shm/x /bin/y && mkdir -p /a/b && chown 1000:1000 /new && stat -c %u /new`,
        );
        const line = ` 0 ${first} 65536`;
        const owners = Array.from({ length: 7 }, () => "0:0");
        assert.deepEqual(seen.trimEnd().split("\n"), [line, line, "0", ...owners, "1000"]);
        assert.match(
          readFileSync(`/proc/${await initOf(containerId)}/status`, "utf8"),
          new RegExp(`Uid:\\t${first}\\t`),
        );
        const upper = join(node.daemon.stateRoot, "containers", containerId, "upper");
        assert.equal(statSync(join(upper, "new")).uid, first + 1000);
      });
    });

    // The lines with "/proc" are counted by who looks for masks: Kubernetes' tests of procMount.
    test("is not shown descriptors of the daemon in its mounts", async (t) => {
      if (!isAtLeast(kernelRelease(), 6, 13)) return t.skip("overlayfs takes names alone before Linux 6.13");
      await withPod("mounts", options(), async (pod) => {
        const containerId = await start(pod, "main");
        const seen = await execIn(containerId, "grep -c /proc/self/fd /proc/self/mounts; true");
        assert.equal(seen, "0\n");
      });
    });

    test("has its own network, mqueue, terminals, devices, processes and sysctls", async () => {
      const sysctls = { "net.ipv4.ping_group_range": "0 2147483647", "kernel.shm_rmid_forced": "1" };
      await withPod(
        "plumbing",
        options(),
        async (pod) => {
          const seen = await ask(
            pod,
            "main",
            security(),
            `cat /proc/sys/net/ipv4/ping_group_range | tr '\\t' ' '; cat /proc/sys/kernel/shm_rmid_forced
          grep -c -E ' (/dev/mqueue|/dev/pts|/sys|/proc|/dev/shm) ' /proc/self/mountinfo
          ls /sys/class/net; hostname; echo x > /dev/null && head -c 3 /dev/zero | wc -c
          ip addr show eth0 | grep -c 'inet '; cat /proc/1/comm; touch /sys/x`,
          );
          assert.match(seen, /^0 65535\n1\n5\neth0\nlo\nplumbing\n3\n1\nsleep\n.*Read-only file system/);
        },
        { linux: { sysctls } },
      );
    });

    test("reaches the host, and is reached", async () => {
      await withPod("net", options(), async (pod) => {
        const script = "mkdir /www && echo served > /www/index.html && exec httpd -f -p 80 -h /www";
        await pod.start({ name: "main", command: ["sh", "-c", script], more: security() });
        const { status } = await node.runtime.podSandboxStatus({ podSandboxId: pod.id });
        const client = await start(pod, "client");
        const url = `http://${status?.network?.ip}/index.html`;
        assert.equal(
          await execIn(
            client,
            `for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - ${url} && break; sleep 0.1; done`,
          ),
          "served\n",
        );
        assert.equal(await (await fetch(url)).text(), "served\n");
        const { stats } = await node.runtime.podSandboxStats({ podSandboxId: pod.id });
        assert.equal(stats?.linux?.network?.defaultInterface?.name, "eth0");
        assert.ok(fromInt64(stats?.linux?.network?.defaultInterface?.rxBytes?.value) > 0n);
      });
    });

    test("can open its own /dev/stdout, as root and as another user", async () => {
      await withPod("stdio", options(), async (pod) => {
        for (const uid of [0, 1000]) {
          const name = `user-${uid}`;
          const more = security({ runAsUser: { value: toInt64(BigInt(uid)) } });
          const command = ["sh", "-c", "echo out > /dev/stdout; echo err > /proc/self/fd/2"];
          await untilExited(node, await pod.start({ name, command, more }));
          assert.match(readFileSync(pod.logPath(name), "utf8"), / stdout F out\n.* stderr F err\n/);
        }
        const containerId = await start(pod, "exec");
        assert.equal(await execIn(containerId, "echo again > /dev/stdout"), "again\n");
        const tty = await pod.start({
          name: "tty",
          command: ["sh", "-c", "tty; stat -c %u $(tty)"],
          more: { ...security(), tty: true },
        });
        await untilExited(node, tty);
        assert.match(readFileSync(pod.logPath("tty"), "utf8"), / F \/dev\/pts\/0\r?\n.* F 0\r?\n/);
      });
    });

    test("runs as the users and groups it asks for", async () => {
      await withPod("users", options(), async (pod) => {
        const more = security({
          runAsUser: { value: toInt64(1234n) },
          runAsGroup: { value: toInt64(55n) },
          supplementalGroups: [toInt64(77n), toInt64(78n)],
        });
        const containerId = await start(pod, "main", more);
        assert.equal(await execIn(containerId, "id -u; id -g; id -G"), "1234\n55\n55 77 78\n");
        const { status } = await node.runtime.containerStatus({ containerId });
        const { uid, supplementalGroups } = status?.user?.linux ?? {};
        assert.equal(fromInt64(uid), 1234n);
        assert.deepEqual(supplementalGroups?.map(fromInt64), [55n, 77n, 78n]);
        const outside = security({ runAsUser: { value: toInt64(70_000n) } });
        await assert.rejects(pod.create({ name: "outside", more: outside }), /uid is 70000: not mapped/);
      });
    });

    test("sees volumes with its own ids where the mount maps them, and as nobody's where not", async () => {
      const hostPath = join(directory, "data");
      mkdirSync(hostPath, { mode: 0o755 });
      writeFileSync(join(hostPath, "of-root"), "content\n");
      writeFileSync(join(hostPath, "of-user"), "");
      chownSync(join(hostPath, "of-user"), 1000, 1000);
      const mounts = [
        { hostPath, containerPath: "/mapped", uidMappings: map(first), gidMappings: map(first) },
        { hostPath, containerPath: "/plain" },
        {
          hostPath,
          containerPath: "/frozen",
          uidMappings: map(first),
          gidMappings: map(first),
          readonly: true,
          recursiveReadOnly: true,
        },
      ];
      await withPod("volumes", options(), async (pod) => {
        const seen = await ask(
          pod,
          "main",
          { ...security(), mounts },
          `stat -c %u /mapped/of-root /mapped/of-user /plain/of-root /frozen/of-user
        echo new > /mapped/made && cat /frozen/made; echo x > /frozen/x; echo y > /plain/y`,
        );
        assert.match(
          seen,
          /^0\n1000\n65534\n1000\nnew\n.*\/frozen\/x: Read-only.*\n.*\/plain\/y: Permission denied/,
        );
        assert.equal(statSync(join(hostPath, "made")).uid, 0);
        const half = { hostPath, containerPath: "/half", uidMappings: map(first) };
        await assert.rejects(
          pod.create({ name: "half", more: { ...security(), mounts: [half] } }),
          /gidMappings is missing/,
        );
      });
    });

    test("confines its containers as others are", async () => {
      await withPod("confined", options(), async (pod) => {
        const { RuntimeDefault } = v1.SecurityProfile.ProfileType;
        for (const noNewPrivs of [true, false]) {
          const more = security({
            noNewPrivs,
            seccomp: { profileType: RuntimeDefault },
            capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["NET_ADMIN"] },
            maskedPaths: ["/proc/uptime", "/sys/kernel"],
            readonlyPaths: ["/proc/sys"],
            readonlyRootfs: true,
          });
          const script = `grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status | cut -f2; wc -c < /proc/uptime
          ls /sys/kernel; ip link add d0 type dummy && echo added; touch /x /proc/sys/net/x; unshare -U true`;
          assert.match(
            await ask(pod, `nnp-${noNewPrivs}`, more, script),
            new RegExp(
              `^0000000000001000\n${noNewPrivs ? 1 : 0}\n2\n0\n(added|ip: RTNETLINK.*)\n.*Read-only.*\n.*\n.*not permitted`,
            ),
          );
        }
      });
    });

    test("gives its containers devices of the host under other names", async () => {
      await withPod("devices", options(), async (pod) => {
        const devices = [{ hostPath: "/dev/full", containerPath: "/dev/brim", permissions: "rw" }];
        const seen = await ask(
          pod,
          "main",
          { ...security(), devices },
          "stat -c %t:%T /dev/brim; echo x > /dev/brim",
        );
        assert.match(seen, /^1:7\n.*No space left/);
      });
    });

    test("shares its processes, or the host's network", async () => {
      const shared = options({ pid: POD });
      await withPod("pids", shared, async (pod) => {
        const seen = await ask(
          pod,
          "main",
          security({ namespaceOptions: shared }),
          "cat /proc/1/comm; ls /proc/1/root/ 2>&1 | grep -c etc",
        );
        assert.equal(seen, "pause\n0\n");
        const target = await start(pod, "target", security({ namespaceOptions: shared }));
        const debug = options({ pid: TARGET, targetId: target });
        assert.match(
          await ask(pod, "debug", security({ namespaceOptions: debug }), "cat /proc/1/comm"),
          /pause|sleep/,
        );
      });
      const onHost = options({ network: NODE });
      await withPod("hostnet", onHost, async (pod) => {
        const own = execFileSync("readlink", ["/proc/self/ns/net"], { encoding: "utf8" });
        const script =
          "readlink /proc/self/ns/net; tr -s ' ' < /proc/self/uid_map; touch /sys/x; ip link add d0 type dummy";
        const seen = await ask(pod, "main", security({ namespaceOptions: onHost }), script);
        assert.ok(seen.startsWith(own), seen);
        assert.match(seen, / 0 1000000 65536\n.*Read-only.*\n.*(not permitted|denied)/);
      });
    });

    test("can see the host's processes and IPC, without rights over them", async () => {
      const onHost = options({ pid: NODE, ipc: NODE });
      await withPod("hostpid", onHost, async (pod) => {
        const script = `cat /proc/${process.pid}/comm; kill -0 ${process.pid}; cat /proc/${process.pid}/environ; touch /dev/shm/x; readlink /proc/self/ns/ipc`;
        const seen = await ask(pod, "main", security({ namespaceOptions: onHost }), script);
        const comm = readFileSync("/proc/self/comm", "utf8");
        assert.ok(seen.startsWith(comm), seen);
        assert.equal(seen.match(/not permitted|denied/g)?.length, 2, seen);
        assert.ok(seen.includes(readlinkSync("/proc/self/ns/ipc")), seen);
      });
    });

    test("has execs with a terminal that belongs to its root", async () => {
      await withPod("terminal", options(), async (pod) => {
        const containerId = await start(pod, "main");
        const cmd = ["sh", "-c", "tty; stat -c '%u %a' $(tty); echo to the terminal > $(tty)"];
        const { url } = await node.runtime.exec({ containerId, cmd, tty: true, stdout: true });
        const client = await connectCommand(url, ["stdout", "resize"]);
        const [output] = await Promise.all([
          readAll(client.stream("stdout")),
          readAll(client.stream("error")),
        ]);
        client.connection.destroy();
        assert.equal(output, "/dev/pts/0\r\n0 620\r\nto the terminal\r\n");
      });
    });
  },
);
