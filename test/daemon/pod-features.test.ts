// What a pod's author can ask for, as the processes inside see it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, untilExited, type TestNode, type TestPod } from "../support/node.ts";
import { requires } from "../support/requires.ts";
import { SeccompAgent } from "../support/seccomp-agent.ts";

const { POD, CONTAINER, NODE, TARGET } = v1.NamespaceMode;

describe("a pod can have", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  let directory: string;

  before(async () => {
    node = await startNode();
    directory = mkdtempSync(join(node.daemon.directory, "volumes-"));
  });
  after(async () => {
    await node.close();
  });

  const withPod = async (
    name: string,
    more: v1.PodSandboxConfigSent,
    body: (pod: TestPod) => Promise<void>,
  ) => {
    const pod = await node.runPod(name, { more });
    try {
      await body(pod);
    } finally {
      await pod.remove();
    }
  };

  /** Starts a container that sleeps and returns what a shell script in it prints. */
  const ask = async (
    pod: TestPod,
    name: string,
    more: v1.ContainerConfigSent,
    script: string,
  ): Promise<string> => {
    const containerId = await pod.start({ name, command: ["sleep", "1000"], more });
    return execIn(containerId, script);
  };

  const execIn = async (containerId: string, script: string): Promise<string> => {
    const cmd = ["sh", "-c", script];
    const { stdout, stderr } = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(10n) });
    return Buffer.concat([stdout, stderr]).toString();
  };

  const security = (context: v1.LinuxContainerSecurityContextSent): v1.ContainerConfigSent => ({
    linux: { securityContext: { namespaceOptions: { pid: CONTAINER }, ...context } },
  });

  test("a DNS configuration, a host name, hosts and a shared /dev/shm", async () => {
    const dnsConfig = { servers: ["10.9.8.7"], searches: ["a.test", "b.test"], options: ["ndots:5"] };
    await withPod("plumbing", { dnsConfig, hostname: "named" }, async (pod) => {
      const seen = await ask(
        pod,
        "one",
        {},
        "cat /etc/resolv.conf /etc/hostname; hostname; touch /dev/shm/shared",
      );
      assert.equal(seen, "search a.test b.test\nnameserver 10.9.8.7\noptions ndots:5\nnamed\nnamed\n");
      assert.equal(await ask(pod, "two", {}, "ls /dev/shm; grep -c named /etc/hosts"), "shared\n1\n");
    });
  });

  test("sysctls, but none of the host's", async () => {
    const sysctls = { "kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1" };
    const hostForward = readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8");
    await withPod("sysctls", { linux: { sysctls } }, async (pod) => {
      const files = "/proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_forward";
      assert.equal(await ask(pod, "main", {}, `cat ${files}`), "1\n1\n");
    });
    assert.equal(readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8"), hostForward);
    const refused = { "kernel.core_pattern": "|/bin/x" };
    await assert.rejects(
      node.runPod("core", { more: { linux: { sysctls: refused } } }),
      /kernel.core_pattern/,
    );
  });

  test("a pid namespace of its own, or each container its own, or another container's", async () => {
    const namespaceOptions = { pid: POD, network: POD, ipc: POD };
    await withPod("pids", { linux: { securityContext: { namespaceOptions } } }, async (pod) => {
      const shared = await ask(
        pod,
        "shared",
        security({ namespaceOptions }),
        "cat /proc/1/comm; ls /proc/1/root/ 2>&1",
      );
      assert.match(shared, /^pause\n/);
      assert.doesNotMatch(shared, /\betc\b/);
      assert.equal(await ask(pod, "own", security({}), "cat /proc/1/comm"), "sleep\n");
    });
    await withPod("target", {}, async (pod) => {
      const target = await pod.start({ name: "target", command: ["sh", "-c", "exec sleep 4242"] });
      const options = { pid: TARGET, targetId: target };
      const seen = await ask(
        pod,
        "debug",
        security({ namespaceOptions: options }),
        "tr '\\0' ' ' < /proc/1/cmdline",
      );
      assert.equal(seen, "sleep 4242 ");
      const wrong = security({ namespaceOptions: { pid: TARGET, targetId: "feed" } });
      await assert.rejects(pod.create({ name: "wrong", more: wrong }), /target_id/);
    });
  });

  test("the host's IPC namespace", async () => {
    const namespaceOptions = { pid: CONTAINER, network: POD, ipc: NODE };
    await withPod("hostipc", { linux: { securityContext: { namespaceOptions } } }, async (pod) => {
      const own = execFileSync("readlink", ["/proc/self/ns/ipc"], { encoding: "utf8" });
      assert.equal(await ask(pod, "main", security({ namespaceOptions }), "readlink /proc/self/ns/ipc"), own);
    });
  });

  test("users and groups, of the image and of the CRI", async () => {
    await withPod("users", {}, async (pod) => {
      const id = "id -u; id -g; id -G";
      const byId = security({ runAsUser: { value: toInt64(1234n) }, supplementalGroups: [toInt64(77n)] });
      assert.equal(await ask(pod, "id", byId, id), "1234\n0\n0 77\n");
      const byName = security({ runAsUsername: "nobody", runAsGroup: { value: toInt64(55n) } });
      assert.match(await ask(pod, "name", byName, id), /^65534\n55\n55\b/);
      await assert.rejects(
        pod.create({ name: "none", more: security({ runAsUsername: "no-such-user" }) }),
        /no-such-user/,
      );
      await assert.rejects(
        pod.create({ name: "group", more: security({ runAsGroup: { value: toInt64(5n) } }) }),
        /run_as_group/,
      );
    });
  });

  test("volumes, read-only ones and a read-only root", async () => {
    mkdirSync(join(directory, "data"));
    writeFileSync(join(directory, "data/file"), "content\n");
    const mounts = [
      { hostPath: join(directory, "data"), containerPath: "/data" },
      { hostPath: join(directory, "data"), containerPath: "/frozen", readonly: true },
      { hostPath: join(directory, "made"), containerPath: "/made" },
    ];
    await withPod("volumes", {}, async (pod) => {
      const script =
        "cat /data/file; echo new > /data/other; echo x > /frozen/x; echo y > /made/y; cat /frozen/other";
      const seen = await ask(pod, "main", { mounts }, script);
      assert.match(seen, /^content\nnew\n/);
      assert.match(seen, /can't create \/frozen\/x: Read-only file system/);
      assert.equal(readFileSync(join(directory, "made/y"), "utf8"), "y\n");
      const frozen = await ask(
        pod,
        "root",
        security({ readonlyRootfs: true }),
        "touch /x; touch /dev/shm/ok && echo shm",
      );
      assert.match(frozen, /^shm\n.*Read-only file system/);
      await assert.rejects(
        pod.create({ name: "relative", more: { mounts: [{ hostPath: "etc", containerPath: "/e" }] } }),
        /host_path/,
      );
    });
  });

  test("mount propagation where the host's mount is shared, and an error where it is not", async () => {
    const shared = join(directory, "shared");
    mkdirSync(shared);
    execFileSync("mount", ["--bind", shared, shared]);
    execFileSync("mount", ["--make-rshared", shared]);
    try {
      const mount = (propagation: number) => ({
        mounts: [{ hostPath: shared, containerPath: "/s", propagation }],
      });
      const { PROPAGATION_BIDIRECTIONAL, PROPAGATION_HOST_TO_CONTAINER } = v1.MountPropagation;
      await withPod("propagation", { linux: { securityContext: { privileged: true } } }, async (pod) => {
        const receiver = await pod.start({
          name: "in",
          command: ["sleep", "1000"],
          more: mount(PROPAGATION_HOST_TO_CONTAINER),
        });
        const sender = await pod.start({
          name: "out",
          command: ["sleep", "1000"],
          more: { ...mount(PROPAGATION_BIDIRECTIONAL), ...security({ privileged: true }) },
        });
        await execIn(sender, "mkdir -p /s/sub && mount -t tmpfs tmpfs /s/sub && touch /s/sub/seen");
        assert.equal(await execIn(receiver, "ls /s/sub"), "seen\n");
        assert.equal(execFileSync("ls", [join(shared, "sub")], { encoding: "utf8" }), "seen\n");
        await execIn(sender, "umount /s/sub");
        const closed = { hostPath: directory, containerPath: "/c", propagation: PROPAGATION_BIDIRECTIONAL };
        await assert.rejects(pod.create({ name: "closed", more: { mounts: [closed] } }), /not shared/);
      });
    } finally {
      execFileSync("umount", ["-l", shared]);
    }
  });

  test("capabilities, no_new_privs, seccomp, hidden paths, privileged", async () => {
    await withPod("confined", { linux: { securityContext: { privileged: true } } }, async (pod) => {
      const caps = "grep CapEff /proc/self/status | cut -f2";
      const none = security({ capabilities: { dropCapabilities: ["ALL"] } });
      assert.equal(await ask(pod, "none", none, caps), "0000000000000000\n");
      const one = security({ capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["NET_ADMIN"] } });
      assert.equal(await ask(pod, "one", one, caps), "0000000000001000\n");
      const nnp = security({ noNewPrivs: true });
      assert.equal(await ask(pod, "nnp", nnp, "grep NoNewPrivs /proc/self/status"), "NoNewPrivs:\t1\n");
      const { RuntimeDefault, Unconfined } = v1.SecurityProfile.ProfileType;
      const mode = "grep Seccomp: /proc/self/status";
      assert.equal(
        await ask(pod, "default", security({ seccomp: { profileType: RuntimeDefault } }), mode),
        "Seccomp:\t2\n",
      );
      assert.equal(
        await ask(pod, "free", security({ seccomp: { profileType: Unconfined } }), mode),
        "Seccomp:\t0\n",
      );
      const hidden = security({
        maskedPaths: ["/proc/uptime", "/sys/kernel", "/proc/no-such"],
        readonlyPaths: ["/proc/sys"],
      });
      const seen = await ask(
        pod,
        "hidden",
        hidden,
        "wc -c < /proc/uptime; ls /sys/kernel; echo x > /proc/sys/kernel/hostname",
      );
      assert.match(seen, /^0\n.*Read-only file system/);
      const all = await ask(
        pod,
        "all",
        security({ privileged: true }),
        "ls /dev/loop-control /dev/null; mkdir /m && mount -t tmpfs x /m && echo mounted",
      );
      assert.match(all, /mounted/);
    });
    await withPod("unprivileged", {}, async (pod) => {
      await assert.rejects(pod.create({ name: "all", more: security({ privileged: true }) }), /privileged/);
    });
  });

  test("CVE-2016-9962: a created container holds no descriptor of the host while it waits to be started", async () => {
    await withPod("waiting", {}, async (pod) => {
      const { RuntimeDefault } = v1.SecurityProfile.ProfileType;
      for (const noNewPrivs of [true, false]) {
        const more = security({ noNewPrivs, seccomp: { profileType: RuntimeDefault } });
        const containerId = await pod.create({ name: `nnp-${noNewPrivs}`, command: ["true"], more });
        const { info } = await node.runtime.containerStatus({ containerId, verbose: true });
        const { pid } = JSON.parse(info["info"] ?? "{}") as { pid: number };
        const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
        assert.deepEqual(
          open.filter((target) => !/^(\/dev\/null|pipe:|socket:)/.test(target)),
          [],
        );
        await node.runtime.startContainer({ containerId });
        assert.equal((await untilExited(node, containerId)).exitCode, 0);
      }
    });
  });

  test("a seccomp profile from a file of the host, and a clear error for a broken one", async () => {
    const path = join(directory, "profile.json");
    const rule = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 };
    writeFileSync(path, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] }));
    const { Localhost } = v1.SecurityProfile.ProfileType;
    const profile = (localhostRef: string) => security({ seccomp: { profileType: Localhost, localhostRef } });
    await withPod("localhost", {}, async (pod) => {
      assert.match(await ask(pod, "main", profile(path), "mkdir /x"), /Operation not permitted/);
      writeFileSync(path, "{");
      await assert.rejects(pod.create({ name: "broken", more: profile(path) }), /profile\.json/);
      rmSync(path);
      await assert.rejects(pod.create({ name: "gone", more: profile(path) }), /profile\.json/);
    });
  });

  test("a seccomp profile that notifies an agent, and a clear error for one that notifies nobody", async () => {
    const path = join(directory, "notify.json");
    const agent = await SeccompAgent.listen(join(directory, "agent.sock"), () => ({ errno: 1 }));
    const rule = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_NOTIFY" };
    const filter = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] };
    const { Localhost } = v1.SecurityProfile.ProfileType;
    const profile = security({ seccomp: { profileType: Localhost, localhostRef: path }, noNewPrivs: true });
    try {
      await withPod("notifying", {}, async (pod) => {
        writeFileSync(path, JSON.stringify(filter));
        await assert.rejects(
          pod.create({ name: "nobody", more: profile }),
          /notify\.json has SCMP_ACT_NOTIFY without a listenerPath/,
        );
        writeFileSync(path, JSON.stringify({ ...filter, listenerPath: agent.path, listenerMetadata: "m" }));
        assert.match(await ask(pod, "main", profile, "mkdir /x"), /Operation not permitted/);
        // One for the container, one for the exec.
        await agent.received(2);
        assert.deepEqual(
          agent.states.map(({ metadata, state: { status: of } }) => [metadata, of]),
          [
            ["m", "creating"],
            ["m", "running"],
          ],
        );
        writeFileSync(path, JSON.stringify({ ...filter, listenerPath: join(directory, "nobody.sock") }));
        await assert.rejects(pod.create({ name: "alone", more: profile }), /nobody\.sock/);
      });
    } finally {
      agent.close();
    }
  });

  test("labels and annotations that come back byte for byte, and filters by them and by short ids", async () => {
    const labels = { "io.kubernetes.pod.name": "ä/ü", empty: "" };
    const annotations = { text: 'line\nbreak "quoted" \u0000 \u{1F997}' };
    await withPod("labelled", { labels, annotations }, async (pod) => {
      const containerId = await pod.create({ name: "main", more: { labels, annotations } });
      const { status } = await node.runtime.containerStatus({ containerId: containerId.slice(0, 12) });
      assert.deepEqual({ ...status?.labels }, labels);
      assert.deepEqual({ ...status?.annotations }, annotations);
      const sandbox = (await node.runtime.podSandboxStatus({ podSandboxId: pod.id.slice(0, 10) })).status;
      assert.deepEqual({ ...sandbox?.annotations }, annotations);
      const idsBy = async (filter: v1.ContainerFilterSent) =>
        (await node.runtime.listContainers({ filter })).containers.map(({ id }) => id);
      assert.deepEqual(await idsBy({ labelSelector: { "io.kubernetes.pod.name": "ä/ü" } }), [containerId]);
      assert.deepEqual(await idsBy({ labelSelector: { "io.kubernetes.pod.name": "other" } }), []);
      assert.deepEqual(await idsBy({ podSandboxId: pod.id.slice(0, 8) }), [containerId]);
      assert.deepEqual(await idsBy({ id: containerId.slice(0, 8) }), [containerId]);
      assert.deepEqual(await idsBy({ state: { state: v1.ContainerState.CONTAINER_RUNNING } }), []);
    });
  });

  test("a terminal", async () => {
    await withPod("tty", {}, async (pod) => {
      const more = { tty: true, stdin: true };
      const containerId = await pod.start({
        name: "main",
        command: ["sh", "-c", "tty; test -t 0 && echo yes; echo err >&2"],
        more,
      });
      await untilExited(node, containerId);
      const lines = readFileSync(pod.logPath("main"), "utf8").trimEnd().split("\n");
      assert.deepEqual(
        lines.map((line) => line.replace(/^\S+ /, "").replace(/\r$/, "")),
        ["stdout F /dev/pts/0", "stdout F yes", "stdout F err"],
      );
    });
  });

  test("an environment that is not UTF-8, a working directory that is made, arguments of the image", async () => {
    await withPod("process", {}, async (pod) => {
      const envs = [{ key: "RAW", value: Buffer.from([0xff, 0xfe, 0x41]) }];
      const seen = await ask(
        pod,
        "env",
        { envs, workingDir: "/new/place" },
        "printf %s $RAW | od -An -tx1; pwd",
      );
      assert.equal(seen, " ff fe 41\n/new/place\n");
    });
  });

  test("a port of the host", async () => {
    const hostPort = 20000 + (process.pid % 10000);
    const portMappings = [{ protocol: v1.Protocol.TCP, containerPort: 8080, hostPort, hostIp: "127.0.0.1" }];
    await withPod("ports", { portMappings }, async (pod) => {
      const script = "mkdir /www && echo served > /www/index.html && exec httpd -f -p 8080 -h /www";
      await pod.start({ name: "main", command: ["sh", "-c", script] });
      for (let attempt = 0; ; attempt++) {
        try {
          const response = await fetch(`http://127.0.0.1:${hostPort}/`);
          assert.equal(await response.text(), "served\n");
          break;
        } catch (error) {
          if (attempt > 50) throw error;
          await delay(20);
        }
      }
    });
  });
});
