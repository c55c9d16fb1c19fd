// The sandbox's own seccomp profile is that of pause, as the kernel shows it.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import { startNode, type TestNode } from "../support/node.ts";
import { requires } from "../support/requires.ts";

const { Localhost, RuntimeDefault, Unconfined } = v1.SecurityProfile.ProfileType;
const { POD, CONTAINER } = v1.NamespaceMode;

describe("the seccomp profile of a sandbox", requires("root", "overlay", "package:busybox-static"), () => {
  let node: TestNode;
  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node.close();
  });

  const pausePid = (id: string): number => {
    const file = join(node.daemon.runRoot, "sandboxes", id, "record.json");
    return (JSON.parse(readFileSync(file, "utf8")) as { pause: { pid: number } }).pause.pid;
  };
  /** "0" none, "2" a filter. */
  const modeOf = async (securityContext: v1.LinuxSandboxSecurityContextSent): Promise<string | undefined> => {
    const pod = await node.runPod("pod", { more: { linux: { securityContext } } });
    try {
      const status = readFileSync(`/proc/${pausePid(pod.id)}/status`, "utf8");
      return /^Seccomp:\s*(\d)/m.exec(status)?.[1];
    } finally {
      await pod.remove();
    }
  };

  test("RuntimeDefault, which the kubelet asks for in every pod", async () => {
    assert.equal(await modeOf({ seccomp: { profileType: RuntimeDefault } }), "2");
  });

  test("in a pod with a user namespace", requires("user-namespaces"), async () => {
    const ids = [{ hostId: 1_000_000, containerId: 0, length: 65_536 }];
    const namespaceOptions = { pid: CONTAINER, usernsOptions: { mode: POD, uids: ids, gids: ids } };
    assert.equal(await modeOf({ seccomp: { profileType: RuntimeDefault }, namespaceOptions }), "2");
  });

  test("none asked for, unconfined, or privileged", async () => {
    assert.equal(await modeOf({}), "0");
    assert.equal(await modeOf({ seccomp: { profileType: Unconfined } }), "0");
    assert.equal(await modeOf({ seccomp: { profileType: RuntimeDefault }, privileged: true }), "0");
  });

  test("a file of the host, and a clear error for one that cannot be used", async () => {
    const localhostRef = join(node.daemon.directory, "profile.json");
    const write = (action: string): void =>
      writeFileSync(
        localhostRef,
        JSON.stringify({
          defaultAction: "SCMP_ACT_ALLOW",
          listenerPath: "/run/agent.sock",
          syscalls: [{ names: ["mkdir"], action }],
        }),
      );
    const seccomp = { profileType: Localhost, localhostRef };
    write("SCMP_ACT_ERRNO");
    assert.equal(await modeOf({ seccomp }), "2");
    write("SCMP_ACT_NOTIFY");
    await assert.rejects(modeOf({ seccomp }), /security_context\.seccomp: rules that notify an agent/);
    writeFileSync(localhostRef, "{");
    await assert.rejects(modeOf({ seccomp }), /security_context\.seccomp: .*profile\.json/);
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
  });

  test("one that forbids to execute anything leaves no pod behind", async () => {
    const localhostRef = join(node.daemon.directory, "closed.json");
    const rule = { names: ["execve", "execveat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 };
    writeFileSync(localhostRef, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] }));
    await assert.rejects(modeOf({ seccomp: { profileType: Localhost, localhostRef } }), /exec.*EPERM/);
    assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
  });
});
