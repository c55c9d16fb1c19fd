// One test for each published escape that concerns a launch: the image or the request is what the exploit was.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { LaunchError } from "../../../src/base/errors.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { requires } from "../../support/requires.ts";
import { Pod, volume, writeFile } from "./pod-fixture.ts";

const withoutMount =
  (...destinations: string[]) =>
  (spec: Spec): void => {
    spec.mounts = spec.mounts?.filter(({ destination }) => !destinations.includes(destination)) ?? [];
  };

const isLaunchError = (error: unknown): boolean => error instanceof LaunchError;

describe("an exploit of", requires("root"), () => {
  // The runtime's own binary, opened for writing through /proc/<pid>/exe while it enters the container.
  test("CVE-2019-5736 finds nothing to overwrite", async (t) => {
    const pod = await Pod.start(t, { pid: "pod" });
    const waiting = await pod.create({ probe: ["sleep", "60"] });
    const status = readFileSync(`/proc/${waiting.monitor.initPid}/status`, "utf8");
    const pidInPod = /^NSpid:\s+\d+\s+(\d+)$/m.exec(status)?.[1] ?? "";
    const exe = `/proc/${pidInPod}/exe`;
    const { paths } = await pod.report([exe, "/proc/self/exe"], {
      security: { capabilities: { add: ["SYS_PTRACE"], drop: [], addAmbient: [] } },
    });
    assert.equal(paths[exe]?.writable, false);
    // What it leads to is a copy in memory, not a file of the host.
    assert.match(paths[exe]?.target ?? "/memfd:", /^\/memfd:/);
  });

  test("CVE-2019-5736 by making the runtime execute itself ends without effect", async (t) => {
    const pod = await Pod.start(t);
    const { exitCode } = await pod.run({
      config: { command: ["/entry"] },
      image: (root) => symlinkSync("/proc/self/exe", join(root, "entry")),
    });
    assert.notEqual(exitCode, 0);
  });

  // The target of a mount is a link that leads out of the rootfs.
  test("CVE-2021-30465 mounts inside the rootfs all the same", async (t) => {
    const pod = await Pod.start(t);
    const outside = join(pod.directory, "outside");
    mkdirSync(outside);
    const { paths } = await pod.report([], {
      config: {
        command: ["/probe", "report", "/link", "/link/new/deep/.."],
        mounts: [volume(pod.directory, "/link/new/deep")],
      },
      image: (root) => symlinkSync(`../../../../../../..${outside}`, join(root, "link")),
    });
    assert.deepEqual(readdirSync(outside), []);
    assert.equal(paths["/link"]?.target, `../../../../../../..${outside}`);
    assert.equal(paths["/link/new/deep/.."]?.error, undefined);
  });

  // A working directory that is a descriptor the runtime left open.
  test("CVE-2024-21626 gets no working directory outside", async (t) => {
    const pod = await Pod.start(t);
    for (const fd of [3, 4, 5, 6, 7, 8, 9, 10]) {
      const workingDir = `/proc/self/fd/${fd}`;
      await assert.rejects(
        pod.create({ config: { workingDir, command: ["/probe", "exit", "0"] } }),
        isLaunchError,
      );
    }
  });

  // The image's /dev/null is a link: what is masked would become what it points at.
  test("CVE-2025-31133 masks nothing with a file of the image's choice", async (t) => {
    const pod = await Pod.start(t);
    await assert.rejects(
      pod.create({
        security: { maskedPaths: ["/secret"] },
        change: withoutMount("/dev", "/dev/pts", "/dev/mqueue", "/dev/shm"),
        image: (root) => {
          writeFile(root, "secret", "s3cret");
          writeFile(root, "victim", "x");
          mkdirSync(join(root, "dev"));
          symlinkSync("/victim", join(root, "dev/null"));
        },
      }),
      isLaunchError,
    );
  });

  // A false /dev/pts, so that the console becomes another file.
  test("CVE-2025-52565 gets no terminal from a false devpts", async (t) => {
    const pod = await Pod.start(t);
    await assert.rejects(
      pod.create({
        config: { tty: true, command: ["/probe", "exit", "0"] },
        change: withoutMount("/dev", "/dev/pts", "/dev/mqueue", "/dev/shm"),
        image: (root) => {
          mkdirSync(join(root, "dev/pts"), { recursive: true });
          symlinkSync("/proc/self/fd/0", join(root, "dev/pts/ptmx"));
        },
      }),
      (error) => error instanceof LaunchError && /terminal/.test(error.message),
    );
  });

  // Writes to /proc of a container that is none, or that has something mounted in it.
  test("CVE-2019-19921 gets no /proc that is a link", async (t) => {
    const pod = await Pod.start(t);
    await assert.rejects(
      pod.create({
        image: (root) => {
          mkdirSync(join(root, "false-proc"));
          symlinkSync("/false-proc", join(root, "proc"));
        },
      }),
      (error) => error instanceof LaunchError && /\/proc/.test(error.message),
    );
  });

  test("CVE-2025-52881 mounts nothing over the files that the runtime writes to", async (t) => {
    const pod = await Pod.start(t);
    for (const target of ["/proc/sys", "/proc/self/attr", "/proc/1"])
      await assert.rejects(
        pod.create({ config: { mounts: [volume(pod.directory, target)] } }),
        isLaunchError,
      );
  });

  // The image's /dev is a link to a directory of the host.
  test("CVE-2026-41579 makes no device outside", async (t) => {
    const pod = await Pod.start(t);
    const outside = join(pod.directory, "outside");
    mkdirSync(outside);
    const launch = pod.create({
      change: withoutMount("/dev", "/dev/pts", "/dev/mqueue", "/dev/shm"),
      image: (root) => symlinkSync(`/proc/self/cwd/../../../..${outside}`, join(root, "dev")),
    });
    await launch.catch((error: unknown) => assert.ok(isLaunchError(error)));
    assert.deepEqual(readdirSync(outside), []);
  });

  // mkdir -p through a link.
  test("CVE-2024-45310 makes no directory outside", async (t) => {
    const pod = await Pod.start(t);
    const outside = join(pod.directory, "outside");
    await pod.create({
      config: { workingDir: "/link/made" },
      image: (root) => symlinkSync(outside, join(root, "link")),
    });
    assert.equal(existsSync(outside), false);
  });

  // Inheritable capabilities give programs with file capabilities more than the container has.
  test("CVE-2022-29162 finds no inheritable capability, in containers and execs", async (t) => {
    const pod = await Pod.start(t, { privileged: true });
    const container = await pod.create({ security: { privileged: true, noNewPrivs: false } });
    await container.monitor.start();
    const { stdout } = await pod.exec(container, "report");
    const report = JSON.parse(stdout.toString()) as Awaited<ReturnType<Pod["report"]>>;
    assert.equal(report.capabilities.inheritable, "0");
    assert.equal(report.capabilities.ambient, "0");
  });
});
