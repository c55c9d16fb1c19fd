// Pods on the networks of real CNI plugins, through the real daemon.
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
import { addressesOf, cniSettings } from "../support/pod-network.ts";
import { requires } from "../support/requires.ts";

// Bridges and packet rules of plugins stay after the last pod: they go with the namespace.
if (skipUnlessRoot === false) await enterPrivateNetns();

const plugins = "/usr/lib/cni";

const ip = (...args: string[]): string => spawnSync("ip", args, { encoding: "utf8" }).stdout;
const tc = (...args: string[]): string => spawnSync("tc", args, { encoding: "utf8" }).stdout;
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
    const bridge = (index: number, more: object) => ({ type: "bridge", bridge: `cnitest${index}`, ...more });
    const use = async (config: { name: string; cniVersion?: string }): Promise<void> => {
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
      assert.match(rules(), new RegExp(`-A CNI-FORWARD -s ${ipv4}/32 -j ACCEPT`));
      assert.match(tc("qdisc", "show"), /tbf .* rate 100Mbit/);
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

    for (const cniVersion of ["0.3.0", "0.3.1", "0.4.0", "1.0.0"])
      test(`the specification ${cniVersion}`, async () => {
        const name = `version-${cniVersion}`;
        const chain = [
          bridge(7, { isGateway: true, ipam: ipam("10.86.0.0/24", "fd00:86::/64") }),
          { type: "portmap", capabilities: { portMappings: true } },
        ];
        await use({ ...list(name, ...chain), cniVersion });
        const portMappings = [{ protocol: v1.Protocol.TCP, containerPort: 80, hostPort: 18082, hostIp: "" }];
        const pod = await node.runPod("versioned", { more: { portMappings } });
        const [ipv4 = "", ipv6 = ""] = await addressesOf(node, pod.id);
        assert.match(`${ipv4} ${ipv6}`, /^10\.86\.0\.\d+ fd00:86::\w+$/);
        assert.ok(rules().includes("18082"));
        await pod.remove();
        assert.deepEqual(leases(name), []);
        assert.ok(!rules().includes("18082"));
      });

    test("a hardware address that the pod asks for", async () => {
      const tuning = { type: "tuning", capabilities: { mac: true } };
      await use(list("mac-of-pod", bridge(8, { ipam: ipam("10.87.0.0/24") }), tuning));
      const annotations = { "cni.cricket/mac": "c2:b0:57:49:47:f1" };
      const pod = await node.runPod("mac", { more: { annotations } });
      const id = await pod.start({ name: "main", command: ["sleep", "1000"] });
      assert.match(await exec(node, id, "ip", "link", "show", "eth0"), /c2:b0:57:49:47:f1/);
      await pod.remove();
      assert.deepEqual(leases("mac-of-pod"), []);
    });

    test("plugins that miss what they made are told of in the log after a start", async () => {
      await use(list("checked", bridge(9, { ipam: ipam("10.89.0.0/24") })));
      const [broken, whole] = [await node.runPod("broken"), await node.runPod("whole")];
      const netns = path.join(node.daemon.runRoot, "netns", broken.id);
      spawnSync("nsenter", [`--net=${netns}`, "ip", "addr", "flush", "dev", "eth0"]);
      await node.daemon.kill();
      await node.daemon.start();
      const told = (id: string): boolean =>
        node.daemon.log().includes(`network of a pod is not as it was made" sandbox=${id.slice(0, 12)}`);
      await until("CHECK told of it", () => told(broken.id));
      await broken.remove();
      assert.equal(told(whole.id), false);
      await whole.remove();
      assert.deepEqual(leases("checked"), []);
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
