// SCMP_ACT_NOTIFY in containers and execs that a monitor and a relay watch, as those of the daemon.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import type { OnListener } from "../../../src/linux/give-listener.ts";
import type { Seccomp } from "../../../src/oci/linux-spec.ts";
import { sendListener } from "../../../src/oci/seccomp-listener.ts";
import { requires } from "../../support/requires.ts";
import { SeccompAgent } from "../../support/seccomp-agent.ts";
import { Pod } from "./pod-fixture.ts";

const EACCES = 13;
const getppid = process.arch === "arm64" ? 173 : 110;

async function notified(t: TestContext, pod: Pod): Promise<{ seccomp: Seccomp; agent: SeccompAgent }> {
  const agent = await SeccompAgent.listen(join(pod.directory, "agent.sock"), () => ({ errno: EACCES }));
  t.after(() => agent.close());
  const seccomp: Seccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    listenerPath: agent.path,
    syscalls: [{ names: ["getppid"], action: "SCMP_ACT_NOTIFY" }],
  };
  return { seccomp, agent };
}

const onListener =
  (seccomp: Seccomp): OnListener =>
  (listener, pid) =>
    sendListener(
      seccomp,
      { ociVersion: "1.2.0", id: "c1", status: "creating", pid, bundle: "/b" },
      listener,
      pid,
    );

describe("an agent of seccomp notifications", requires("root"), () => {
  test("answers a container and an exec in it", async (t) => {
    const pod = await Pod.start(t);
    const { seccomp, agent } = await notified(t, pod);
    const request = {
      change: (spec: { linux?: { seccomp?: Seccomp } }) => void (spec.linux = { ...spec.linux, seccomp }),
      onListener: onListener(seccomp),
    };
    const { output } = await pod.run({ ...request, probe: ["call", "native", String(getppid)] });
    assert.equal(output, "EACCES\n");
    const container = await pod.create(request);
    await agent.received(2);
    assert.equal(agent.states.at(-1)?.pid, container.monitor.initPid);
    await container.monitor.start();
    const { stdout } = await pod.execWith(
      container,
      ["call", "native", String(getppid)],
      [],
      onListener(seccomp),
    );
    assert.equal(stdout.toString(), "EACCES\n");
  });

  test("that is not there ends the launch", async (t) => {
    const pod = await Pod.start(t);
    const { seccomp, agent } = await notified(t, pod);
    agent.close();
    const gone = { ...seccomp, listenerPath: join(pod.directory, "nobody.sock") };
    const launch = pod.create({
      change: (spec) => void (spec.linux = { ...spec.linux, seccomp: gone }),
      onListener: onListener(gone),
    });
    await assert.rejects(launch, /linux\.seccomp\.listenerPath .*nobody\.sock: .*ENOENT/);
  });
});
