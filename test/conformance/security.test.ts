// Security contexts, as the processes of a container see them.
import assert from "node:assert/strict";
import fs from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import type { TestPod } from "../support/node.ts";
import { busyboxEntries, buildImage, buildLayer } from "../support/test-image.ts";
import { needs, openTarget, security, type Target } from "./target.ts";

const { POD, CONTAINER, NODE } = v1.NamespaceMode;
const { RuntimeDefault, Unconfined, Localhost } = v1.SecurityProfile.ProfileType;
const { Merge, Strict } = v1.SupplementalGroupsPolicy;
type Context = v1.LinuxContainerSecurityContextSent;

const id = (value: bigint) => ({ value: toInt64(value) });
const asks = (context: v1.LinuxSandboxSecurityContextSent) => ({ linux: { securityContext: context } });
const namespaceOf = (name: string) => fs.readlinkSync(`/proc/self/ns/${name}`);

const effective = "grep CapEff /proc/self/status | cut -f 2";
const setHostname = "hostname changed && hostname";

/** What is asked for, a script, and what it must print. */
const contexts: { name: string; context: Context; script: string; prints: string | RegExp }[] = [
  { name: "run_as_user", context: { runAsUser: id(1001n) }, script: "id -u; id -g", prints: "1001\n0\n" },
  { name: "run_as_username", context: { runAsUsername: "nobody" }, script: "id -u", prints: "65534\n" },
  {
    name: "run_as_group",
    context: { runAsUser: id(1001n), runAsGroup: id(1002n) },
    script: "id -u; id -g",
    prints: "1001\n1002\n",
  },
  {
    name: "supplemental_groups",
    context: { supplementalGroups: [toInt64(1234n)] },
    script: "id -G",
    prints: /\b1234\b/,
  },
  {
    name: "a read-only root",
    context: { readonlyRootfs: true },
    script: "touch /x; touch /tmp/x",
    prints: /\/x: Read-only file system/,
  },
  {
    name: "all capabilities dropped",
    context: { capabilities: { dropCapabilities: ["ALL"] } },
    script: effective,
    prints: "0000000000000000\n",
  },
  {
    name: "one capability added",
    context: { capabilities: { dropCapabilities: ["ALL"], addCapabilities: ["SYS_ADMIN"] } },
    script: effective,
    prints: "0000000000200000\n",
  },
  {
    name: "inheritable capabilities are none (CVE-2022-27652)",
    context: { capabilities: { addCapabilities: ["NET_ADMIN"] } },
    script: "grep CapInh /proc/self/status | cut -f 2",
    prints: "0000000000000000\n",
  },
  {
    name: "no_new_privs",
    context: { noNewPrivs: true },
    script: "grep NoNewPrivs /proc/self/status",
    prints: "NoNewPrivs:\t1\n",
  },
  {
    name: "new privileges allowed",
    context: { noNewPrivs: false },
    script: "grep NoNewPrivs /proc/self/status",
    prints: "NoNewPrivs:\t0\n",
  },
  {
    name: "masked paths",
    context: { maskedPaths: ["/etc/group", "/proc/no-such"] },
    script: "wc -c < /etc/group",
    prints: "0\n",
  },
  {
    name: "read-only paths",
    context: { readonlyPaths: ["/tmp"] },
    script: "touch /tmp/x",
    prints: /Read-only file system/,
  },
  {
    name: "the default seccomp profile",
    context: { seccomp: { profileType: RuntimeDefault } },
    script: "grep Seccomp: /proc/self/status",
    prints: "Seccomp:\t2\n",
  },
  {
    name: "no seccomp profile",
    context: { seccomp: { profileType: Unconfined } },
    script: "grep Seccomp: /proc/self/status",
    prints: "Seccomp:\t0\n",
  },
  {
    name: "no word about seccomp",
    context: {},
    script: "grep Seccomp: /proc/self/status",
    prints: "Seccomp:\t0\n",
  },
  {
    name: "SYS_ADMIN without a profile may set the host name",
    context: { capabilities: { addCapabilities: ["SYS_ADMIN"] }, seccomp: { profileType: Unconfined } },
    script: setHostname,
    prints: "changed\n",
  },
];

describe("conformance: security contexts", needs, () => {
  let target: Target;
  let pod: TestPod;
  let profile: string;

  before(async () => {
    target = await openTarget();
    pod = await target.runPod();
    profile = path.join(target.directory, "no-hostname.json");
    const rule = { names: ["sethostname"], action: "SCMP_ACT_ERRNO" };
    fs.writeFileSync(profile, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] }));
  });
  after(async () => {
    await target.close();
  });

  for (const { name, context, script, prints } of contexts)
    test(`container: ${name}`, async () => {
      const seen = await target.ask(pod, security(context), script);
      if (typeof prints === "string") assert.equal(seen, prints);
      else assert.match(seen, prints);
    });

  test("container: a profile of the host that forbids to set the host name, unless privileged", async () => {
    const seccomp = { profileType: Localhost, localhostRef: profile };
    const capabilities = { addCapabilities: ["SYS_ADMIN"] };
    const seen = await target.ask(pod, security({ seccomp, capabilities }), setHostname);
    assert.match(seen, /Operation not permitted/);
    await target.withPod(asks({ privileged: true }), async (privileged) => {
      const all = await target.ask(privileged, security({ seccomp, privileged: true }), setHostname);
      assert.equal(all, "changed\n");
    });
  });

  test("container: privileged sees and may do what others may not", async () => {
    const script = "ip link add test type bridge && echo made";
    assert.doesNotMatch(await target.ask(pod, security({ privileged: false }), script), /made/);
    await target.withPod(asks({ privileged: true }), async (privileged) => {
      assert.match(await target.ask(privileged, security({ privileged: true }), script), /made/);
    });
  });

  test("container: a group without a user is refused", async () => {
    await assert.rejects(pod.create({ name: "group", more: security({ runAsGroup: id(5n) }) }));
  });

  test("container: groups of the image are merged, or left out by the strict policy", async () => {
    const group = "root:x:0:\ndefault-group:x:50000:image-user\n";
    const passwd = "root:x:0:0::/root:/bin/sh\nimage-user:x:1000:1000::/:/bin/sh\n";
    const accounts = [
      { name: "etc/group", content: group },
      { name: "etc/passwd", content: passwd },
    ];
    const layers = [await buildLayer(busyboxEntries()), await buildLayer(accounts)];
    const image = await target.pull("test/groups", "1", buildImage(layers, { config: { User: "1000" } }));
    const supported = (await target.runtime.status({})).features?.supplementalGroupsPolicy === true;
    const ask = async (supplementalGroupsPolicy: number) => {
      const context = { supplementalGroups: [toInt64(60000n)], supplementalGroupsPolicy };
      const more = security(context);
      const { log } = await target.runToEnd(pod, { image, command: ["id", "-G"], more });
      return log
        .split(" ")
        .map(Number)
        .toSorted((a, b) => a - b);
    };
    assert.deepEqual(await ask(Merge), [1000, 50000, 60000]);
    if (supported) assert.deepEqual(await ask(Strict), [1000, 60000]);
  });

  test("sandbox: a process namespace for each container, for the pod, and the host's", async () => {
    const first = "cat /proc/1/comm";
    assert.equal(await target.ask(pod, security({ namespaceOptions: { pid: CONTAINER } }), first), "sleep\n");
    const shared = { namespaceOptions: { pid: POD, network: POD, ipc: POD } };
    await target.withPod(asks(shared), async (together) => {
      const one = await target.startSleeping(together, security(shared));
      const other = await target.startSleeping(together, security(shared));
      assert.equal(
        await target.sh(one, "readlink /proc/self/ns/pid"),
        await target.sh(other, "readlink /proc/self/ns/pid"),
      );
      assert.notEqual(await target.sh(one, first), "sleep\n");
    });
    const host = { namespaceOptions: { pid: NODE, network: POD, ipc: POD } };
    await target.withPod(asks(host), async (exposed) => {
      const seen = await target.ask(exposed, security(host), "readlink /proc/self/ns/pid");
      assert.equal(seen.trim(), namespaceOf("pid"));
    });
  });

  for (const [name, field] of [
    ["ipc", "ipc"],
    ["net", "network"],
  ] as const)
    test(`sandbox: the host's ${name} namespace when asked for, else its own`, async () => {
      for (const mode of [NODE, POD]) {
        const context = { namespaceOptions: { pid: CONTAINER, network: POD, ipc: POD, [field]: mode } };
        const hostname = field === "network" && mode === NODE ? { hostname: "" } : {};
        await target.withPod({ ...asks(context), ...hostname }, async (asked) => {
          const seen = await target.ask(asked, security(context), `readlink /proc/self/ns/${name}`);
          assert.equal(seen.trim() === namespaceOf(name), mode === NODE);
        });
      }
    });

  test("sandbox: on the host's network it has the host's name", async () => {
    const context = { namespaceOptions: { pid: CONTAINER, network: NODE, ipc: POD } };
    await target.withPod({ ...asks(context), hostname: "" }, async (exposed) => {
      assert.equal(await target.ask(exposed, security(context), "hostname"), `${hostname()}\n`);
    });
  });

  test("sandbox: sysctls of its own namespaces", async () => {
    const sysctls = { "kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "1024 65000" };
    await target.withPod({ linux: { sysctls } }, async (tuned) => {
      const files = "/proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range";
      assert.equal(await target.ask(tuned, {}, `cat ${files}`), "1\n1024\t65000\n");
    });
  });
});
