// Containers launched from specs that were built from CRI requests: the probe inside says what it sees.
import assert from "node:assert/strict";
import { readlinkSync } from "node:fs";
import { describe, test } from "node:test";
import { capabilityMask, capabilityNames } from "../../../src/linux/capabilities.ts";
import { capabilityBoundingSet } from "../../../src/linux/proc.ts";
import { requires } from "../../support/requires.ts";
import { defaultCapabilities } from "../../unit/container/container-fixtures.ts";
import { Pod, volume, writeFile } from "./pod-fixture.ts";

const defaultMask = capabilityMask(defaultCapabilities, "test") & capabilityBoundingSet();

describe("a container", requires("root"), () => {
  test("sees its own root, processes, names and nothing of the host", async (t) => {
    const pod = await Pod.start(t);
    const report = await pod.report(["/etc/hostname", "/etc/hosts", "/run", "/sys/fs/cgroup", "/dev/shm"]);
    assert.equal(report.pid, 1);
    assert.equal(report.hostname, "pod-a");
    assert.equal(report.cwd, "/");
    assert.equal(report.umask, "22");
    assert.equal(report.noNewPrivs, 1);
    assert.equal(report.parentDeathSignal, 9);
    assert.equal(report.paths["/etc/hosts"]?.content, "hosts of the pod\n");
    assert.equal(report.paths["/run"]?.error, "ENOENT");
    assert.equal(report.paths["/sys/fs/cgroup"]?.writable, false);
    assert.equal(report.paths["/dev/shm"]?.writable, true);
    // The kernel shows the host's paths only as roots of bind mounts, never as mount points.
    const points = report.mounts.split("\n").map((line) => line.split(" ")[4] ?? "");
    assert.ok(!points.some((point) => point.includes("cricket-test")), report.mounts);
  });

  test("has the default capabilities, and none that could be inherited", async (t) => {
    const pod = await Pod.start(t);
    const { capabilities } = await pod.report([]);
    const mask = defaultMask.toString(16);
    assert.deepEqual(capabilities, {
      effective: mask,
      permitted: mask,
      inheritable: "0",
      bounding: mask,
      ambient: "0",
    });
  });

  test("runs as the user of its image, with that user's groups and home", async (t) => {
    const pod = await Pod.start(t);
    const report = await pod.report(["/home"], { imageUser: "app", config: { workingDir: "/home/app" } });
    assert.deepEqual(report.uids, [1000, 1000, 1000]);
    assert.deepEqual(report.gids, [2000, 2000, 2000]);
    assert.deepEqual(report.groups, [2000, 3000]);
    assert.equal(report.cwd, "/home/app");
    assert.ok(report.env.includes("HOME=/home/app"));
    assert.equal(report.capabilities.effective, "0");
    assert.equal(report.capabilities.bounding, defaultMask.toString(16));
  });

  test("keeps an ambient capability as another user", async (t) => {
    const pod = await Pod.start(t);
    const { capabilities } = await pod.report([], {
      imageUser: "app",
      security: { capabilities: { add: [], drop: ["ALL"], addAmbient: [] } },
    });
    assert.equal(capabilities.bounding, "0");
    const ambient = await pod.report([], {
      imageUser: "app",
      security: { capabilities: { add: [], drop: [], addAmbient: ["NET_BIND_SERVICE"] } },
    });
    assert.equal(ambient.capabilities.effective, (1n << 10n).toString(16));
  });

  test("keeps bytes of its environment that are not UTF-8", async (t) => {
    const pod = await Pod.start(t);
    const envs = [{ key: "RAW", value: Buffer.from([0xff, 0x41]) }];
    const report = await pod.report([], { config: { envs, command: ["/probe", "report"] } });
    assert.ok(report.env.includes("RAW=\u00ffA"), JSON.stringify(report.env));
  });

  test("has the usual devices and links, and no more", async (t) => {
    const pod = await Pod.start(t);
    const devices = {
      "/dev/null": "1:3",
      "/dev/zero": "1:5",
      "/dev/full": "1:7",
      "/dev/random": "1:8",
      "/dev/urandom": "1:9",
      "/dev/tty": "5:0",
    };
    const links = { "/dev/fd": "/proc/self/fd", "/dev/stdout": "/proc/self/fd/1", "/dev/ptmx": "pts/ptmx" };
    const { paths } = await pod.report([
      ...Object.keys(devices),
      ...Object.keys(links),
      "/dev/sda",
      "/dev/kmsg",
    ]);
    for (const [path, device] of Object.entries(devices)) {
      assert.equal(paths[path]?.device, device, path);
      assert.equal(paths[path]?.mode, "666", path);
    }
    for (const [path, target] of Object.entries(links)) assert.equal(paths[path]?.target, target, path);
    assert.equal(paths["/dev/sda"]?.error, "ENOENT");
    assert.equal(paths["/dev/kmsg"]?.error, "ENOENT");
  });

  test("cannot write to masked and read-only paths", async (t) => {
    const pod = await Pod.start(t);
    const { paths } = await pod.report(
      ["/proc/keys", "/proc/sys/kernel/hostname", "/secret", "/secrets", "/sys"],
      {
        security: {
          maskedPaths: ["/proc/kcore", "/proc/keys", "/secret", "/secrets", "/absent"],
          readonlyPaths: ["/proc/sys", "/absent"],
        },
        image: (root) => {
          writeFile(root, "secret", "s3cret");
          writeFile(root, "secrets/key", "s3cret");
        },
      },
    );
    assert.deepEqual([paths["/secret"]?.content, paths["/secret"]?.device], ["", "1:3"]);
    assert.equal(paths["/secrets"]?.writable, false);
    assert.equal(paths["/proc/keys"]?.content, "");
    for (const path of ["/proc/sys/kernel/hostname", "/sys"])
      assert.equal(paths[path]?.writable, false, path);
  });

  test("has a read-only root with writable mounts in it", async (t) => {
    const pod = await Pod.start(t);
    const mounts = [volume(pod.directory, "/data")];
    const { paths } = await pod.report(["/", "/etc", "/data", "/etc/hosts", "/dev/shm"], {
      security: { readonlyRootfs: true },
      config: {
        mounts,
        command: ["/probe", "report", "/", "/etc", "/data", "/etc/hosts", "/dev/shm"],
        workingDir: "/new",
      },
    });
    assert.deepEqual(
      Object.entries(paths).map(([path, { writable }]) => `${path} ${writable}`),
      ["/ false", "/etc false", "/data true", "/etc/hosts false", "/dev/shm true"],
    );
  });

  test("sees volumes as they were asked for", async (t) => {
    const pod = await Pod.start(t);
    const command = ["/probe", "report", "/rw", "/ro", "/rro", "/rw/nested"];
    const mounts = [
      volume(pod.directory, "/rw"),
      { ...volume(pod.directory, "/ro"), readonly: true },
      { ...volume(pod.directory, "/rro"), readonly: true, recursiveReadOnly: true },
      volume(pod.directory, "/rw/nested"),
    ];
    const { paths, mounts: table } = await pod.report([], { config: { mounts, command } });
    assert.deepEqual(
      Object.entries(paths).map(([path, { writable }]) => `${path} ${writable}`),
      ["/rw true", "/ro false", "/rro false", "/rw/nested true"],
    );
    assert.ok(!/ shared:/.test(table), "every mount is private");
  });

  test("is filtered by its seccomp profile", async (t) => {
    const pod = await Pod.start(t);
    for (const noNewPrivs of [true, false]) {
      const report = await pod.report([], {
        security: { noNewPrivs },
        change: (spec) => {
          spec.linux = {
            ...spec.linux,
            seccomp: {
              defaultAction: "SCMP_ACT_ALLOW",
              syscalls: [{ names: ["uname"], action: "SCMP_ACT_ERRNO" }],
            },
          };
        },
      });
      assert.match(report.status, /^Seccomp:\s+2$/m);
      assert.equal(report.noNewPrivs, noNewPrivs ? 1 : 0);
      assert.notEqual(report.hostname, "pod-a");
    }
  });

  test("runs under the RuntimeDefault profile", async (t) => {
    const pod = await Pod.start(t);
    const { defaultSeccompProfile: seccompProfile } = await import("../../../src/oci/seccomp-default.ts");
    for (const noNewPrivs of [true, false]) {
      const report = await pod.report([], {
        security: { noNewPrivs, seccomp: { type: "runtime-default" } },
        input: { seccompProfile },
        imageUser: "app",
      });
      assert.match(report.status, /^Seccomp:\s+2$/m);
      assert.deepEqual(report.uids, [1000, 1000, 1000]);
    }
  });

  test("has the limits and the OOM score of its request", async (t) => {
    const pod = await Pod.start(t);
    const report = await pod.report([], {
      change: (spec) => {
        if (spec.process === undefined) return;
        spec.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 100n, hard: 200n }];
        spec.process.oomScoreAdj = 500;
      },
    });
    assert.deepEqual(report.limits[7], ["100", "200"]);
    assert.equal(report.oomScoreAdj.trim(), "500");
  });

  test("has a terminal of its own devpts", async (t) => {
    const pod = await Pod.start(t);
    const { descriptors, paths, session, env } = await pod.report(["/dev/console", "/dev/pts/0"], {
      config: { tty: true, command: ["/probe", "report", "/dev/console", "/dev/pts/0"] },
    });
    assert.deepEqual(
      descriptors.filter(({ fd }) => fd < 3).map(({ tty, device }) => [tty, device]),
      [
        [true, "136:0"],
        [true, "136:0"],
        [true, "136:0"],
      ],
    );
    assert.equal(paths["/dev/console"]?.device, "136:0");
    assert.equal(session, 1);
    assert.ok(env.includes("TERM=xterm"));
  });

  // CVE-2016-9962, CVE-2024-21626: nothing of the runtime is open.
  test("has no descriptor but stdio", async (t) => {
    const pod = await Pod.start(t);
    const { descriptors } = await pod.report([]);
    assert.deepEqual(
      descriptors.map(({ fd }) => fd),
      [0, 1, 2],
    );
  });

  test("shares the pod's processes with the others", async (t) => {
    const pod = await Pod.start(t, { pid: "pod" });
    const report = await pod.report(["/proc/1/cmdline", "/proc/1/root"], {
      security: { capabilities: { add: ["SYS_PTRACE"], drop: [], addAmbient: [] } },
    });
    assert.notEqual(report.pid, 1);
    assert.equal(report.paths["/proc/1/cmdline"]?.content, "pause");
    const inRoot = await pod.report(["/proc/1/root/", "/proc/1/root/etc", "/proc/1/root/proc"], {
      security: { capabilities: { add: ["SYS_PTRACE"], drop: [], addAmbient: [] } },
    });
    assert.equal(inRoot.paths["/proc/1/root/etc"]?.error, "ENOENT", "pause's root is not the host's");
  });

  test("in the host's pid namespace sees the host's processes", async (t) => {
    const pod = await Pod.start(t);
    const report = await pod.report([`/proc/${process.pid}/comm`], {
      security: { namespaces: { network: "pod", ipc: "pod", pid: "node", targetId: "" } },
    });
    assert.ok(report.pid > 1);
    assert.equal(report.paths[`/proc/${process.pid}/comm`]?.error, undefined);
  });

  test("that is privileged has what that means", async (t) => {
    const pod = await Pod.start(t, { privileged: true });
    const report = await pod.report(["/sys", "/proc/sys/kernel/hostname", "/dev/loop-control"], {
      security: { privileged: true, noNewPrivs: false },
      input: {
        devices: [{ type: "c", path: "/dev/loop-control", major: 10, minor: 237, permissions: "rwm" }],
      },
    });
    assert.equal(report.capabilities.effective, capabilityBoundingSet().toString(16));
    assert.ok(capabilityNames(capabilityBoundingSet()).includes("CAP_SYS_ADMIN"));
    assert.equal(report.paths["/proc/sys/kernel/hostname"]?.writable, true);
    assert.equal(report.paths["/dev/loop-control"]?.device, "10:237");
    assert.match(report.mounts, / \/sys rw/);
  });

  test("in the pod's network namespace has its sysctls", async (t) => {
    const pod = await Pod.start(t);
    const path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    const { paths } = await pod.report([path]);
    assert.equal(paths[path]?.content, "0\n");
    assert.notEqual(readlinkSync(`/proc/${pod.pausePid}/ns/net`), readlinkSync("/proc/self/ns/net"));
  });
});

describe("an exec", requires("root"), () => {
  test("runs with the container's identity, confinement and namespaces", async (t) => {
    const pod = await Pod.start(t);
    const { defaultSeccompProfile: seccompProfile } = await import("../../../src/oci/seccomp-default.ts");
    const container = await pod.create({
      imageUser: "app",
      security: { seccomp: { type: "runtime-default" } },
      input: { seccompProfile },
      config: { workingDir: "/srv" },
    });
    await container.monitor.start();
    const { stdout, exitCode } = await pod.exec(container, "report", "/etc/hosts", "/proc/1/cmdline");
    const report = JSON.parse(stdout.toString()) as Awaited<ReturnType<Pod["report"]>>;
    assert.equal(exitCode, 0);
    assert.deepEqual(report.uids, [1000, 1000, 1000]);
    assert.deepEqual(report.groups, [2000, 3000]);
    assert.equal(report.cwd, "/srv");
    assert.equal(report.noNewPrivs, 1);
    assert.match(report.status, /^Seccomp:\s+2$/m);
    assert.equal(report.capabilities.bounding, defaultMask.toString(16));
    assert.match(report.paths["/proc/1/cmdline"]?.content ?? "", /^\/probe/);
    assert.deepEqual(
      report.descriptors.map(({ fd }) => fd),
      [0, 1, 2],
    );
  });
});
