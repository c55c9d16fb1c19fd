// AppArmor on a kernel that has it: the default profile, profiles of the node, and that an exec is confined as well.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, it } from "node:test";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { containerConfig, podConfig } from "../support/pod.ts";
import { requires } from "../support/requires.ts";
import { runInPod } from "../support/run-in-pod.ts";
import { startStaticRegistry, type StaticRegistry } from "../support/static-registry.ts";
import { busyboxImage } from "../support/test-image.ts";

const needs = requires("root", "apparmor", "package:apparmor", "package:busybox-static");
const { RuntimeDefault, Localhost, Unconfined } = v1.SecurityProfile.ProfileType;

/** Everything but writing below /tmp. */
const noTmp = "profile cricket-test-no-tmp flags=(attach_disconnected) { file, signal, deny /tmp/** w, }\n";

describe("the daemon with AppArmor", needs, () => {
  let registry: StaticRegistry;
  let daemon: TestDaemon;
  let image: string;

  before(async () => {
    parser("--replace", noTmp);
    registry = await startStaticRegistry();
    daemon = await startDaemon({ registries: [registry.address] });
    image = registry.add("test/busybox", "1", await busyboxImage());
    await daemon.client.image.pullImage({ image: { image } });
  });
  after(async () => {
    try {
      await daemon.close();
    } finally {
      await registry.close();
      parser("--remove", noTmp);
    }
  });

  const confined = (securityContext: v1.LinuxContainerSecurityContextSent) => ({
    linux: { securityContext },
  });
  const run = (script: string, securityContext: v1.LinuxContainerSecurityContextSent = {}) =>
    runInPod(daemon, { image, command: ["sh", "-c", script], more: confined(securityContext) });

  it("loads its default profile when it starts, and says so", async () => {
    const { info } = await daemon.client.runtime.status({ verbose: true });
    assert.deepEqual(JSON.parse(info["security"] ?? "{}").apparmor, {
      enabled: true,
      defaultProfile: "cricket-default",
      loaded: true,
    });
  });

  it("confines by default, also a container that may do everything", async () => {
    const script = [
      "cat /proc/self/attr/current",
      "echo 10 >/proc/sys/vm/swappiness && echo swappiness",
      "echo h >/proc/sysrq-trigger && echo sysrq",
      "mount -t tmpfs none /mnt && echo mount",
      "head -c1 /proc/kcore >/dev/null && echo kcore",
      "echo 1 >/sys/kernel/profiling && echo sys",
      "echo 1 >/proc/sys/net/ipv4/ip_forward && echo net",
      "echo 0 >/proc/self/oom_score_adj && echo self",
      "mkdir /sys/fs/cgroup/x && rmdir /sys/fs/cgroup/x && echo cgroup",
      "sleep 100 & kill $! && echo kill",
      "echo x >/tmp/x && cat /tmp/x",
    ].join("; ");
    const { log } = await run(`exec 2>/dev/null; ${script}`, {
      capabilities: { addCapabilities: ["ALL"], dropCapabilities: [], addAmbientCapabilities: [] },
      // Nothing masked and nothing read-only but one path that is not there: only the profile is in the way.
      maskedPaths: ["/nowhere"],
      readonlyPaths: [],
    });
    assert.deepEqual(log.trimEnd().split("\n"), [
      "cricket-default (enforce)",
      "net",
      "self",
      // /sys/fs/cgroup is mounted read-only, so "cgroup" is not among them.
      "kill",
      "x",
    ]);
  });

  it("takes profiles by both fields, and execs run under the container's", async () => {
    const tmp = "cat /proc/self/attr/current; echo x >/tmp/x && echo written";
    const current = await run(tmp, {
      apparmor: { profileType: Localhost, localhostRef: "cricket-test-no-tmp" },
    });
    const old = await run(tmp, { apparmorProfile: "localhost/cricket-test-no-tmp" });
    for (const { log } of [current, old]) {
      assert.match(log, /^cricket-test-no-tmp \(enforce\)\n/);
      assert.doesNotMatch(log, /written/);
    }
    const unconfined = await run(tmp, { apparmor: { profileType: Unconfined } });
    assert.equal(unconfined.log, "unconfined\nwritten\n");

    const { runtime } = daemon.client;
    const logDirectory = path.join(daemon.directory, "logs");
    fs.mkdirSync(logDirectory);
    const pod = podConfig({ name: "a", logDirectory });
    const more = confined({ apparmor: { profileType: RuntimeDefault } });
    const config = containerConfig({ name: "c", image, command: ["sleep", "1000"], more });
    const { podSandboxId } = await runtime.runPodSandbox({ config: pod });
    const { containerId } = await runtime.createContainer({ podSandboxId, config, sandboxConfig: pod });
    await runtime.startContainer({ containerId });
    const { stdout } = await runtime.execSync({ containerId, cmd: ["cat", "/proc/self/attr/current"] });
    assert.equal(Buffer.from(stdout).toString(), "cricket-default (enforce)\n");
    // Stopped by a process that is not confined: the profile has to let the signal in.
    await runtime.stopContainer({ containerId });
  });

  it("refuses a profile that is not loaded, and leaves nothing", async () => {
    const asked = { apparmor: { profileType: Localhost, localhostRef: "cricket-test-missing" } };
    await assert.rejects(run("true", asked), {
      status: "FAILED_PRECONDITION",
      message: /AppArmor profile cricket-test-missing is not loaded/,
    });
    const { containers } = await daemon.client.runtime.listContainers({});
    assert.equal(containers.filter(({ state }) => state === v1.ContainerState.CONTAINER_CREATED).length, 0);
  });

  it("loads the default profile again when the kernel has lost it", async () => {
    parser("--remove", "profile cricket-default { }\n");
    const { log } = await run("cat /proc/self/attr/current");
    assert.equal(log, "cricket-default (enforce)\n");
  });
});

function parser(action: "--replace" | "--remove", profile: string): void {
  const { status, stderr } = spawnSync("/usr/sbin/apparmor_parser", [action, "--skip-cache"], {
    input: profile,
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
}
