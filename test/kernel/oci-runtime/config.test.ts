// config.json property by property: what the container's own program sees of it. Namespaces, hooks, seccomp, mounts,
// network devices and terminals have files of their own.
import assert from "node:assert/strict";
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { MNT_DETACH, mount, MS_BIND, MS_SHARED, umount } from "../../../src/linux/mount.ts";
import { readMountinfo } from "../../../src/linux/mountinfo.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Process, Spec } from "../../../src/oci/spec.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

const changeProcess =
  (changes: Partial<Process>) =>
  (spec: Spec): void => {
    if (spec.process !== undefined) spec.process = { ...spec.process, ...changes };
  };
const changeLinux =
  (changes: Partial<Linux>) =>
  (spec: Spec): void => {
    spec.linux = { ...spec.linux, ...changes };
  };

describe("config.json", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());

  it("root.readonly: the root cannot be written to, mounts in it can", async () => {
    const { paths } = await fixture.report(() => {}, ["/", "/bin", "/dev/shm"]);
    assert.deepEqual(
      ["/", "/bin", "/dev/shm"].map((path) => paths[path]?.writable),
      [false, false, true],
    );
  });

  it("root.path: absolute as well, writable without readonly", async () => {
    const { paths } = await fixture.report(
      (spec) => (spec.root = { path: join(fixture.bundle, "rootfs") }),
      ["/"],
    );
    assert.equal(paths["/"]?.writable, true);
  });

  it("root.path: must be a directory", async () => {
    assert.match(await fixture.refusal((spec) => (spec.root = { path: "nowhere" })), /nowhere.*ENOENT/);
  });

  it("hostname and domainname", async () => {
    const report = await fixture.report((spec) => {
      spec.hostname = "box";
      spec.domainname = "example.org";
    });
    assert.deepEqual([report.hostname, report.domainname], ["box", "example.org"]);
  });

  it("process: arguments, environment, directory, user, groups and umask", async () => {
    const report = await fixture.report(
      changeProcess({
        cwd: "/bin",
        env: ["A=0", "EMPTY=", "PATH=/bin", "A=1"],
        user: { uid: 11, gid: 12, umask: 0o27, additionalGids: [13, 14] },
      }),
      ["/bin"],
    );
    assert.deepEqual(report.argv, ["probe", "report", "/bin"]);
    assert.deepEqual(report.env, ["A=1", "EMPTY=", "PATH=/bin", "HOME=/"]);
    assert.equal(report.cwd, "/bin");
    assert.deepEqual(
      [report.uids, report.gids],
      [
        [11, 11, 11],
        [12, 12, 12],
      ],
    );
    assert.deepEqual(report.groups, [13, 14]);
    assert.equal(report.umask, "27");
  });

  it("process.env: HOME is that of the container's passwd, unless it is set", async () => {
    mkdirSync(join(fixture.bundle, "rootfs/etc"));
    writeFileSync(
      join(fixture.bundle, "rootfs/etc/passwd"),
      "root:x:0:0::/root:\napp:x:11:12::/srv/app:/bin/sh\n",
    );
    const home = async (changes: Partial<Process>): Promise<string[]> =>
      (await fixture.report(changeProcess(changes))).env;
    assert.deepEqual(await home({ env: ["A=1"], user: { uid: 11, gid: 12 } }), ["A=1", "HOME=/srv/app"]);
    assert.deepEqual(await home({ env: ["HOME="], user: { uid: 99, gid: 12 } }), ["HOME=/"]);
    assert.deepEqual(await home({ env: ["HOME=/x"] }), ["HOME=/x"]);
    const id = fixture.newId();
    fixture.write(["sleep", "1000"]);
    await fixture.ok("run", "--detach", id);
    assert.match(await fixture.ok("exec", "--user", "11", id, "env"), /^HOME=\/srv\/app$/m);
    await fixture.ok("delete", "--force", id);
  });

  it("process.capabilities: five sets, each as it was asked for", async () => {
    const { capabilities } = await fixture.report(
      changeProcess({
        user: { uid: 11, gid: 12 },
        capabilities: {
          bounding: ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
          permitted: ["CAP_CHOWN", "CAP_KILL"],
          inheritable: ["CAP_KILL"],
          ambient: ["CAP_KILL"],
          effective: ["CAP_CHOWN"],
        },
      }),
    );
    // Of a user other than root execve keeps the ambient ones; the inheritable set stays as it is.
    assert.deepEqual(capabilities, {
      bounding: "2021",
      permitted: "20",
      inheritable: "20",
      ambient: "20",
      effective: "20",
    });
  });

  it("process.capabilities: what cannot be given is a warning that names it", async () => {
    const id = fixture.newId();
    fixture.write(
      ["true"],
      changeProcess({ capabilities: { bounding: ["CAP_KILL", "CAP_OF_TOMORROW"], permitted: ["CAP_KILL"] } }),
    );
    const { status, stderr } = await fixture.run(["run", id]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /level=warning msg="process.capabilities: CAP_OF_TOMORROW cannot be given/);
  });

  it("process: limits, OOM score and noNewPrivileges", async () => {
    const report = await fixture.report(
      changeProcess({
        rlimits: [
          { type: "RLIMIT_CORE", soft: 1n, hard: 2n },
          { type: "RLIMIT_NOFILE", soft: 100n, hard: 200n },
        ],
        oomScoreAdj: 321,
        noNewPrivileges: true,
      }),
    );
    assert.deepEqual(
      [report.limits[4], report.limits[7]],
      [
        ["1", "2"],
        ["100", "200"],
      ],
    );
    assert.equal(report.oomScoreAdj?.trim(), "321");
    assert.equal(report.noNewPrivs, 1);
    const without = await fixture.report(changeProcess({ noNewPrivileges: false }));
    assert.equal(without.noNewPrivs, 0);
    // "If oomScoreAdj is not set, the runtime MUST NOT change the value".
    assert.equal(without.oomScoreAdj, readFileSync("/proc/self/oom_score_adj", "utf8"));
  });

  it("process: scheduler and ioPriority", async () => {
    const report = await fixture.report(
      changeProcess({
        scheduler: { policy: "SCHED_BATCH", nice: 7 },
        ioPriority: { class: "IOPRIO_CLASS_IDLE", priority: 3 },
      }),
    );
    assert.deepEqual([report.scheduler, report.nice, report.ioPriority], [3, 7, (3 << 13) | 3]);
  });

  it("process.execCPUAffinity: of an exec, not of the container's own program", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"], changeProcess({ execCPUAffinity: { initial: "0", final: "1" } }));
    await fixture.ok("run", "--detach", id);
    const { pid } = JSON.parse(await fixture.ok("state", id)) as { pid: number };
    assert.match(readFileSync(`/proc/${pid}/status`, "utf8"), /^Cpus_allowed_list:\t0-/m);
    assert.match(await fixture.ok("exec", id, "cat", "/proc/self/status"), /^Cpus_allowed_list:\t1$/m);
    await fixture.ok("delete", "--force", id);
  });

  it("process.apparmorProfile, process.selinuxLabel and linux.mountLabel: an error that names what the kernel lacks", async () => {
    for (const [change, message] of [
      [changeProcess({ apparmorProfile: "p" }), /process\.apparmorProfile is set, .* no AppArmor/],
      [changeProcess({ selinuxLabel: "a:b:c:s0" }), /process\.selinuxLabel is set, .* no SELinux/],
      [changeLinux({ mountLabel: "a:b:c:s0" }), /linux\.mountLabel is set, .* no SELinux/],
    ] as const) {
      const lacking = message.source.includes("AppArmor")
        ? !existsSync("/sys/module/apparmor")
        : !existsSync("/sys/fs/selinux");
      if (lacking) assert.match(await fixture.refusal(change), message);
    }
  });

  // The user is the owner, root of the user namespace has no rights over it: what an NFS export with root_squash is.
  it("process.cwd: entered by the user where root is refused", requires("user-namespaces"), async () => {
    const directory = join(fixture.directory, "squashed");
    mkdirSync(join(directory, "inner"), { recursive: true, mode: 0o700 });
    const map = (containerID: number, hostID: number) => ({ containerID, hostID, size: 1 });
    // The group has no number in the user namespace, so capabilities do not count.
    chownSync(directory, 100_001, 7);
    chownSync(join(directory, "inner"), 100_001, 7);
    // 5: the group of terminals, which the default spec's devpts names.
    const mappings = [map(0, 100_000), map(1, 100_001), map(5, 100_005)];
    const report = await fixture.report((spec) => {
      changeProcess({ cwd: "/dev/data/inner", user: { uid: 1, gid: 1 } })(spec);
      spec.mounts?.push({ destination: "/dev/data", source: directory, type: "bind", options: ["bind"] });
      const namespaces = [...(spec.linux?.namespaces ?? []), { type: "user" as const }];
      changeLinux({ namespaces, uidMappings: mappings, gidMappings: mappings })(spec);
    });
    assert.equal(report.cwd, "/dev/data/inner");
  });

  it("linux.devices: beside the default devices, with mode and owner", async () => {
    const { paths } = await fixture.report(
      changeLinux({
        devices: [
          { type: "c", path: "/dev/mem-zero", major: 1, minor: 5, fileMode: 0o640, uid: 3, gid: 4 },
          { type: "b", path: "/dev/block", major: 7, minor: 99 },
          { type: "p", path: "/dev/fifo", fileMode: 0o600 },
          { type: "u", path: "/run-device", major: 1, minor: 3 },
        ],
        // Outside of /dev: into the root, which is therefore writable until everything is made.
      }),
      ["null", "zero", "full", "random", "urandom", "tty", "mem-zero", "block", "fifo", "ptmx", "fd"]
        .map((name) => `/dev/${name}`)
        .concat("/run-device"),
    );
    const seen = Object.values(paths).map(
      ({ type, device, mode, target }) => target ?? `${type} ${device} ${mode}`,
    );
    const character = (device: string): string => `20000 ${device} 666`;
    assert.deepEqual(seen, [
      ...["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"].map(character),
      "20000 1:5 640",
      "60000 7:99 666",
      "10000 0:0 600",
      "pts/ptmx",
      "/proc/self/fd",
      "20000 1:3 666",
    ]);
    const zero = paths["/dev/mem-zero"];
    assert.deepEqual([zero?.uid, zero?.gid], [3, 4]);
  });

  it("linux.maskedPaths and readonlyPaths", async () => {
    const { paths } = await fixture.report(
      (spec) => {
        spec.root = { path: "rootfs" };
        changeLinux({
          maskedPaths: ["/proc/version", "/sys/kernel", "/bin/busybox", "/nowhere"],
          readonlyPaths: ["/proc/sys", "/bin", "/nowhere"],
        })(spec);
      },
      [
        "/proc/version",
        "/bin/busybox",
        "/sys/kernel",
        "/sys/kernel/notes",
        "/proc/sys/kernel/shmmax",
        "/bin",
        "/",
      ],
    );
    const seen = Object.entries(paths).map(([path, { type, device, content, writable, error }]) => [
      path,
      error ?? (type === "20000" ? `${device} ${content}` : writable),
    ]);
    assert.deepEqual(seen, [
      ["/proc/version", "1:3 "],
      ["/bin/busybox", "1:3 "],
      ["/sys/kernel", false],
      ["/sys/kernel/notes", "ENOENT"],
      ["/proc/sys/kernel/shmmax", false],
      ["/bin", false],
      ["/", true],
    ]);
  });

  it("linux.namespaces: a new network namespace has its loopback device up", async () => {
    const { interfaces } = await fixture.report();
    assert.equal(interfaces["lo"]?.up, true);
    assert.ok(interfaces["lo"]?.addresses.includes("127.0.0.1"));
  });

  it("linux.sysctl: in the container, not on the host", async () => {
    const before = readFileSync("/proc/sys/kernel/shmmni", "utf8");
    const { paths } = await fixture.report(
      changeLinux({ sysctl: { "kernel.shmmni": "77", "net.ipv4.ip_forward": "1" } }),
      ["/proc/sys/kernel/shmmni", "/proc/sys/net/ipv4/ip_forward"],
    );
    assert.deepEqual(
      Object.values(paths).map(({ content }) => content?.trim()),
      ["77", "1"],
    );
    assert.equal(readFileSync("/proc/sys/kernel/shmmni", "utf8"), before);
  });

  it("linux.cgroupsPath: where the container is", async () => {
    const path = `/cricket-test-config-${process.pid}`;
    const { cgroup } = await fixture.report((spec) => {
      const namespaces = spec.linux?.namespaces?.filter(({ type }) => type !== "cgroup") ?? [];
      changeLinux({ namespaces, cgroupsPath: path })(spec);
    });
    const groups =
      cgroup
        ?.trim()
        .split("\n")
        .map((line) => line.split(":").at(-1)) ?? [];
    assert.ok(
      groups.length > 0 && groups.filter((group) => group === path).length >= groups.length - 2,
      cgroup ?? "",
    );
  });

  it("linux.personality", async () => {
    assert.equal((await fixture.report(changeLinux({ personality: { domain: "LINUX32" } }))).personality, 8);
    assert.equal((await fixture.report(changeLinux({ personality: { domain: "LINUX" } }))).personality, 0);
  });

  it("linux.memoryPolicy: kept over execve, and by an exec", async (t) => {
    if (!existsSync("/proc/self/numa_maps")) {
      t.skip("needs a kernel with NUMA (CONFIG_NUMA)");
      return;
    }
    const change = changeLinux({
      memoryPolicy: { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] },
    });
    const report = await fixture.report(change);
    assert.deepEqual(report.memoryPolicy, { error: 0, mode: 2 | 0x8000, nodes: "1" });
    const refused = await fixture.refusal(
      changeLinux({ memoryPolicy: { mode: "MPOL_BIND", nodes: "1000" } }),
    );
    assert.match(refused, /set_mempolicy.*EINVAL/);
  });

  it("linux.intelRdt: an error where no resctrl is mounted", async (t) => {
    if (readFileSync("/proc/mounts", "utf8").includes(" resctrl ")) {
      t.skip("this host has resctrl");
      return;
    }
    assert.match(
      await fixture.refusal(changeLinux({ intelRdt: { closID: "guaranteed" } })),
      /linux\.intelRdt is set, but no resctrl file system is mounted/,
    );
  });

  it("linux.rootfsPropagation: of the container's root, and never of the host's mounts", async () => {
    const roots = {
      private: /^$/,
      shared: /^shared:\d+$/,
      slave: /^(master:\d+)?$/,
      unbindable: /^unbindable$/,
    };
    for (const [propagation, expected] of Object.entries(roots)) {
      const { mounts } = await fixture.report(
        changeLinux({ rootfsPropagation: propagation as keyof typeof roots }),
      );
      const root = mounts?.split("\n").find((line) => line.split(" ")[4] === "/") ?? "";
      // proc_pid_mountinfo(5): optional fields stand between the options and a dash.
      const fields = root.split(" - ", 1)[0]?.split(" ").slice(6).join(" ") ?? "";
      assert.match(fields, expected, `${propagation}: ${root}`);
    }
    assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes(fixture.bundle));
  });

  // As on a machine with systemd, where all mounts are shared, and with an engine that mounts the rootfs.
  it("a rootfs that is a shared mount gets none of the container's mounts on the host", async () => {
    const rootfs = join(fixture.bundle, "rootfs");
    mount(rootfs, rootfs, "", MS_BIND);
    mount("", rootfs, "", MS_SHARED);
    const seen = (): number =>
      readMountinfo().filter(({ mountPoint }) => mountPoint.startsWith(rootfs)).length;
    try {
      for (const rootfsPropagation of [undefined, "shared", "rslave"] as const) {
        const id = fixture.newId();
        fixture.write(["sleep", "1000"], (spec) => {
          Object.assign(spec.linux ?? {}, { rootfsPropagation });
          spec.mounts?.push({ destination: "/mnt", type: "bind", source: fixture.bundle, options: ["bind"] });
        });
        await fixture.ok("run", "-d", id);
        assert.equal(seen(), 1, rootfsPropagation);
        const { pid } = JSON.parse(await fixture.ok("state", id)) as { pid: number };
        const groups = new Set(readMountinfo().map(({ sharedGroup }) => sharedGroup ?? -1));
        assert.ok(!readMountinfo(pid).some(({ sharedGroup = 0 }) => groups.has(sharedGroup)));
        await fixture.ok("delete", "-f", id);
      }
    } finally {
      while (seen() > 0) umount(rootfs, MNT_DETACH);
    }
  });

  it("a property that the spec does not have is a warning that names it", async () => {
    const id = fixture.newId();
    fixture.write(["true"], (spec) => Object.assign(spec.linux ?? {}, { seccmop: {} }));
    const { status, stderr } = await fixture.run(["run", id]);
    assert.equal(status, 0);
    assert.match(stderr, /level=warning msg="linux\.seccmop is ignored: the runtime-spec does not have it"/);
    const strict = await fixture.run(["--strict", "run", id]);
    assert.equal(strict.status, 1);
    assert.match(strict.stderr, /level=error msg="run failed: .*linux\.seccmop is ignored.*--strict/);
    assert.match((await fixture.run(["state", id])).stderr, /does not exist/);
  });
});
