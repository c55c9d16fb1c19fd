// Pods on the networks of real CNI plugins, and on plugins that fail on demand, through the real daemon.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { enterPrivateNetns, skipUnlessRoot } from "../kernel/network/private-netns.ts";
import { CniDouble } from "../support/cni-double.ts";
import { until } from "../support/until.ts";
import { startNode, type TestNode } from "../support/node.ts";
import { addressesOf, cniSettings, networkReady } from "../support/pod-network.ts";
import { requires } from "../support/requires.ts";

// Bridges and packet rules of plugins stay after the last pod: they go with the namespace.
if (skipUnlessRoot === false) await enterPrivateNetns();

const plugins = "/usr/lib/cni";

const ip = (...args: string[]): string => spawnSync("ip", args, { encoding: "utf8" }).stdout;
const rules = (): string => spawnSync("iptables-save", [], { encoding: "utf8" }).stdout;

async function exec(node: TestNode, containerId: string, ...cmd: string[]): Promise<string> {
  const result = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(10n) });
  assert.equal(result.exitCode, 0, Buffer.from(result.stderr).toString());
  return Buffer.from(result.stdout).toString();
}

/** True when none of the pod's cgroups is left; a cgroup with a process in it stays. */
function removeCgroups(parent: string, podSandboxId: string): boolean {
  const directories = fs
    .readdirSync("/sys/fs/cgroup")
    .map((hierarchy) => path.join("/sys/fs/cgroup", hierarchy, parent, `pod-${podSandboxId}`));
  for (const directory of directories)
    spawnSync("rmdir", [path.join(directory, `cricket-${podSandboxId}`), directory]);
  return directories.every((directory) => !fs.existsSync(directory));
}

/** The one file among the bridge's directories of leases. */
function bootFile(node: TestNode): string {
  const directory = path.join(node.daemon.stateRoot, "network");
  const files = fs.readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile());
  assert.equal(files.length, 1);
  return path.join(directory, files[0]?.name ?? "");
}

describe(
  "the plugins of Debian",
  requires(
    "root",
    "overlay",
    "package:busybox-static",
    "package:containernetworking-plugins",
    "package:iptables",
    "package:iproute2",
  ),
  () => {
    let node: TestNode;
    const double = new CniDouble();
    const leases = (network: string): string[] => {
      const directory = path.join(double.directory, "leases", network);
      if (!fs.existsSync(directory)) return [];
      return fs.readdirSync(directory).filter((name) => net.isIP(name) !== 0);
    };
    const ipam = (...subnets: string[]) => ({
      type: "host-local",
      dataDir: path.join(double.directory, "leases"),
      ranges: subnets.map((subnet) => [{ subnet }]),
      routes: [{ dst: "0.0.0.0/0" }],
    });
    const list = (name: string, ...chain: object[]) => ({ cniVersion: "1.0.0", name, plugins: chain });
    const use = async (config: { name: string }): Promise<void> => {
      double.configure("10-test.conflist", config);
      await until(`network ${config.name} is ready`, () =>
        node.daemon.log().includes(`message="network is ready" network=${config.name} `),
      );
    };

    before(async () => {
      double.configure("10-test.conflist", list("start", { type: "loopback" }));
      node = await startNode({ settings: cniSettings(double, plugins) });
    });
    after(async () => {
      await node.close();
      double[Symbol.dispose]();
    });

    test("bridge, host-local, portmap, bandwidth, firewall and loopback in one chain", async () => {
      await use(
        list(
          "full",
          { type: "loopback" },
          {
            type: "bridge",
            bridge: "cnitest0",
            isGateway: true,
            ipMasq: true,
            hairpinMode: true,
            ipam: ipam("10.77.0.0/24", "fd00:77::/64"),
          },
          { type: "portmap", capabilities: { portMappings: true } },
          { type: "bandwidth", capabilities: { bandwidth: true } },
          { type: "firewall" },
        ),
      );
      const pod = await node.runPod("full", {
        more: {
          portMappings: [{ protocol: v1.Protocol.TCP, containerPort: 8080, hostPort: 18080, hostIp: "" }],
          annotations: { "kubernetes.io/egress-bandwidth": "100M" },
        },
      });
      const [ipv4 = "", ipv6 = ""] = await addressesOf(node, pod.id);
      assert.match(ipv4, /^10\.77\.0\.\d+$/);
      assert.match(ipv6, /^fd00:77::/);
      const containerId = await pod.start({
        name: "main",
        command: [
          "sh",
          "-c",
          "mkdir -p /tmp/www; echo page >/tmp/www/index.html; httpd -f -p 8080 -h /tmp/www",
        ],
      });
      const links = await exec(node, containerId, "ip", "addr");
      assert.match(links, /lo: <LOOPBACK,UP/);
      assert.ok(links.includes(`inet ${ipv4}/24`) && links.includes(`inet6 ${ipv6}/64`), links);
      await exec(node, containerId, "ping", "-c", "1", "-W", "5", "10.77.0.1");
      await exec(node, containerId, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/");
      const page = await fetch(`http://${ipv4}:8080/`);
      assert.equal(await page.text(), "page\n");
      assert.match(rules(), /--dport 18080 .*-j DNAT|18080.*DNAT/);
      assert.ok(rules().includes(ipv4));
      const usage = (await node.runtime.podSandboxStats({ podSandboxId: pod.id })).stats?.linux?.network;
      assert.equal(usage?.defaultInterface?.name, "eth0");
      assert.ok(Number(usage.defaultInterface?.rxBytes?.value ?? 0) > 0);
      assert.equal(leases("full").length, 2);
      await pod.remove();
      assert.deepEqual(leases("full"), []);
      assert.ok(!rules().includes(ipv4), rules());
      assert.ok(!ip("link", "show", "master", "cnitest0").includes("veth"));
    });

    test("the network of a pod's user namespace", requires("user-namespaces"), async () => {
      const bridge = { type: "bridge", bridge: "cnitest1", isGateway: true, ipam: ipam("10.78.0.0/24") };
      await use(
        list("owned", { type: "loopback" }, bridge, {
          type: "portmap",
          capabilities: { portMappings: true },
        }),
      );
      const { POD, CONTAINER } = v1.NamespaceMode;
      const ids = [{ hostId: 1_000_000, containerId: 0, length: 65_536 }];
      const namespaceOptions = { pid: CONTAINER, usernsOptions: { mode: POD, uids: ids, gids: ids } };
      const linux = { securityContext: { namespaceOptions } };
      const pod = await node.runPod("owned", { more: { linux } });
      const [address = ""] = await addressesOf(node, pod.id);
      const containerId = await pod.start({ name: "main", command: ["sleep", "1000"], more: { linux } });
      assert.match(await exec(node, containerId, "ip", "addr"), new RegExp(`inet ${address}/24 .* eth0`));
      assert.match(await exec(node, containerId, "ip", "route"), /^default via 10\.78\.0\.1 dev eth0/m);
      assert.match(await exec(node, containerId, "cat", "/proc/self/uid_map"), / 1000000 /);
      await pod.remove();
      assert.deepEqual(leases("owned"), []);
    });

    test("pods reach each other, and keep their addresses when the daemon is killed", async () => {
      await use(list("pair", { type: "bridge", bridge: "cnitest1", ipam: ipam("10.78.0.0/24") }));
      const [one, two] = [await node.runPod("one"), await node.runPod("two")];
      const [address = ""] = await addressesOf(node, one.id);
      const containerId = await two.start({ name: "main", command: ["sleep", "1000"] });
      await exec(node, containerId, "ping", "-c", "1", "-W", "5", address);
      await node.daemon.kill();
      await node.daemon.start();
      assert.deepEqual(await addressesOf(node, one.id), [address]);
      await exec(node, containerId, "ping", "-c", "1", "-W", "5", address);
      assert.equal(leases("pair").length, 2);
      await one.remove();
      await two.remove();
      assert.deepEqual(leases("pair"), []);
    });

    test("ptp", async () => {
      await use(list("direct", { type: "ptp", ipMasq: false, ipam: ipam("10.79.0.0/24") }));
      const pod = await node.runPod("ptp");
      const containerId = await pod.start({ name: "main", command: ["sleep", "1000"] });
      await exec(node, containerId, "ping", "-c", "1", "-W", "5", "10.79.0.1");
      await pod.remove();
      assert.deepEqual(leases("direct"), []);
    });

    test("macvlan", async () => {
      ip("link", "add", "parent0", "type", "veth", "peer", "name", "parent1");
      ip("link", "set", "parent0", "up");
      await use(list("mac", { type: "macvlan", master: "parent0", ipam: ipam("10.80.0.0/24") }));
      const pod = await node.runPod("macvlan");
      assert.match((await addressesOf(node, pod.id)).join(), /^10\.80\.0\.\d+$/);
      await node.runtime.podSandboxStats({ podSandboxId: pod.id });
      await pod.remove();
      assert.deepEqual(leases("mac"), []);
    });

    test("an address of the node's own range, and one the pod asks for", async () => {
      await node.runtime.updateRuntimeConfig({
        runtimeConfig: { networkConfig: { podCidr: "10.81.5.0/24" } },
      });
      const range = { ...ipam(), ranges: undefined };
      const capabilities = { ipRanges: true, ips: true, mac: true };
      await use(list("ranges", { type: "bridge", bridge: "cnitest2", capabilities, ipam: range }));
      const pod = await node.runPod("ranges", {
        more: { annotations: { "cni.cricket/ips": "10.81.5.77" } },
      });
      assert.deepEqual(await addressesOf(node, pod.id), ["10.81.5.77"]);
      await pod.remove();
    });

    test("a pool without addresses fails the pod and leaves nothing", async () => {
      await use(list("tiny", { type: "bridge", bridge: "cnitest3", ipam: ipam("10.82.0.0/30") }));
      const first = await node.runPod("first");
      await assert.rejects(node.runPod("second"), /no IP addresses available/);
      assert.equal(leases("tiny").length, 1);
      await first.remove();
      const second = await node.runPod("second");
      await second.remove();
    });

    test("leases are given back after a reboot (containerd/cri#948)", async () => {
      await use(list("boot", { type: "bridge", bridge: "cnitest4", ipam: ipam("10.83.0.0/24") }));
      const pod = await node.runPod("boot");
      assert.equal(leases("boot").length, 1);
      await node.daemon.kill();
      // What a reboot takes: all of the run root, and the namespaces with it.
      const runRoot = node.daemon.runRoot;
      spawnSync("umount", ["-l", path.join(runRoot, "netns", pod.id)]);
      spawnSync("umount", ["-l", path.join(runRoot, "sandboxes", pod.id, "shm")]);
      const record = JSON.parse(
        fs.readFileSync(path.join(runRoot, "sandboxes", pod.id, "record.json"), "utf8"),
      ) as { pause: { pid: number } };
      process.kill(record.pause.pid, "SIGKILL");
      fs.rmSync(path.join(runRoot, "sandboxes", pod.id), { recursive: true });
      fs.rmSync(path.join(runRoot, "netns", pod.id), { force: true });
      // The bridge knows by this file that its leases are of another boot.
      fs.writeFileSync(bootFile(node), "an earlier boot\n");
      await until("pause has ended", () => removeCgroups(node.daemon.cgroupParent, pod.id));
      await node.daemon.start();
      await until("the lease is free", () => leases("boot").length === 0);
    });

    test("a host port needs no plugin for it, and outlives the daemon", async () => {
      const bridge = { type: "bridge", bridge: "cnitest6", isGateway: true, hairpinMode: true };
      await use(list("bare", { ...bridge, ipam: ipam("10.85.0.0/24") }));
      const portMappings = [{ protocol: v1.Protocol.TCP, containerPort: 8080, hostPort: 18081, hostIp: "" }];
      const pod = await node.runPod("served", { more: { portMappings } });
      const serve = "mkdir -p /tmp/www; echo page >/tmp/www/index.html; httpd -f -p 8080 -h /tmp/www";
      const server = await pod.start({ name: "main", command: ["sh", "-c", serve] });
      const neighbour = await node.runPod("neighbour");
      const client = await neighbour.start({ name: "main", command: ["sleep", "1000"] });
      const get = (containerId: string, url: string) => exec(node, containerId, "wget", "-q", "-O", "-", url);
      await get(server, "http://127.0.0.1:8080/");
      const tryEverywhere = async (): Promise<void> => {
        for (const url of ["http://127.0.0.1:18081/", "http://10.85.0.1:18081/"])
          assert.equal(await (await fetch(url, { headers: { Connection: "close" } })).text(), "page\n", url);
        // The pod itself and its neighbour on the same link come back by the way they went.
        for (const one of [server, client]) assert.equal(await get(one, "http://10.85.0.1:18081/"), "page\n");
      };
      await tryEverywhere();
      await assert.rejects(node.runPod("rival", { more: { portMappings } }), /host port 18081\/tcp is taken/);
      assert.equal(leases("bare").length, 2);
      await node.daemon.kill();
      await node.daemon.start();
      await tryEverywhere();
      await pod.remove();
      await assert.rejects(fetch("http://127.0.0.1:18081/"));
      await neighbour.remove();
      const again = await node.runPod("again", { more: { portMappings } });
      await again.remove();
    });

    test("the bridge takes over where no configuration is left, and pods stay with their plugins", async () => {
      await use(list("leave", { type: "bridge", bridge: "cnitest5", ipam: ipam("10.84.0.0/24") }));
      const old = await node.runPod("old");
      double.unconfigure("10-test.conflist");
      const prefix = node.daemon.subnet.replace(/\.0\/24$/, ".");
      let pods = 0;
      await until("a pod of the bridge", async () => {
        const pod = await node.runPod(`new-${pods++}`);
        const [address = ""] = await addressesOf(node, pod.id);
        await pod.remove();
        return address.startsWith(prefix);
      });
      assert.match((await addressesOf(node, old.id)).join(), /^10\.84\./);
      await old.remove();
      assert.deepEqual(leases("leave"), []);
    });
  },
);

describe("plugins that fail", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  const double = new CniDouble();
  const chain = (...types: string[]) => ({
    cniVersion: "1.1.0",
    name: "doubles",
    plugins: types.map((type) => ({ type })),
  });

  before(async () => {
    double.install("good", "bad");
    double.configure("10-doubles.conflist", chain("good", "bad"));
    node = await startNode({ settings: cniSettings(double) });
  });
  after(async () => {
    await node.close();
    double[Symbol.dispose]();
  });

  test("ADD that fails is followed by DEL, and the retry succeeds", async () => {
    double.behave("bad", "ADD", `echo '{"code":100,"msg":"out of luck"}'; exit 1`);
    await assert.rejects(node.runPod("unlucky"), /plugin bad ADD: out of luck \(code 100\)/);
    assert.deepEqual(double.summary("ADD", "DEL"), ["good ADD", "bad ADD", "bad DEL", "good DEL"]);
    double.behave("bad", "ADD", "");
    const pod = await node.runPod("unlucky");
    assert.deepEqual(await addressesOf(node, pod.id), ["10.9.8.7"]);
    await pod.remove();
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
  });

  test("a daemon killed in ADD sends DEL when it comes back", async () => {
    double.forgetCalls();
    double.behave("good", "ADD", `touch '${double.directory}/adding'; sleep 1000`);
    const running = node.runPod("killed").catch(() => {});
    await until("ADD runs", () => fs.existsSync(path.join(double.directory, "adding")));
    await node.daemon.kill();
    await running;
    double.behave("good", "ADD", "");
    await node.daemon.start();
    await until("DEL was sent", () => double.summary("DEL").join() === "bad DEL,good DEL");
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
  });

  test("while one pod's plugin hangs, other pods go on", async () => {
    double.behave(
      "good",
      "ADD",
      `case "$CNI_ARGS" in *K8S_POD_NAME=slow*) while [ ! -e '${double.directory}/go' ]; do sleep 0.05; done;; esac`,
    );
    const slow = node.runPod("slow");
    const quick = await node.runPod("quick");
    await quick.remove();
    fs.writeFileSync(path.join(double.directory, "go"), "");
    await (await slow).remove();
    double.behave("good", "ADD", "");
  });

  test("StopPodSandbox fails while DEL does, and succeeds when it does", async () => {
    const pod = await node.runPod("sticky");
    double.behave("bad", "DEL", "exit 1");
    await assert.rejects(
      node.runtime.stopPodSandbox({ podSandboxId: pod.id }),
      /plugin bad DEL: exit status 1/,
    );
    double.behave("bad", "DEL", "");
    await pod.remove();
  });

  test("NetworkReady says what STATUS says, and pods on the host's network run all the same", async () => {
    double.behave("bad", "STATUS", `echo '{"code":51,"msg":"controller lost"}'; exit 1`);
    await node.daemon.restart();
    const { status, reason, message } = await networkReady(node);
    assert.deepEqual(
      { status, reason, message },
      {
        status: false,
        reason: "NetworkPluginNotReady",
        message: "plugin bad STATUS: controller lost (code 51)",
      },
    );
    await assert.rejects(node.runPod("waiting"), /pod network is not ready: .*controller lost/);
    const host = await node.runPod("host", { hostNetwork: true });
    await host.remove();
    double.behave("bad", "STATUS", "");
    await until("the network is ready", async () => (await networkReady(node)).status);
  });
});
