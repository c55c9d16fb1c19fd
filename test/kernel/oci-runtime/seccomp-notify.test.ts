// SCMP_ACT_NOTIFY: an agent gets the notify descriptor and decides about calls, also about those that the launch itself
// makes once the filter is set.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { requires } from "../../support/requires.ts";
import { SeccompAgent, type Decide } from "../../support/seccomp-agent.ts";
import { OciFixture } from "./oci-fixture.ts";

const EPERM = 1;
const numbers =
  process.arch === "arm64" ? { sendmsg: 211, mkdir: 34, uname: 160 } : { sendmsg: 46, mkdir: 83, uname: 63 };
// On arm64 mkdir(2) is mkdirat(2).
const mkdirName = process.arch === "arm64" ? "mkdirat" : "mkdir";

describe("seccomp notifications", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());
  let count = 0;

  const listen = (decide: Decide): Promise<SeccompAgent> =>
    SeccompAgent.listen(join(fixture.directory, `agent-${count++}.sock`), decide);

  const write = (args: string[], names: string[], agent: string, noNewPrivileges: boolean): void =>
    fixture.write(args, (spec) => {
      spec.root = { path: "rootfs" };
      spec.annotations = { key: "value" };
      if (spec.process !== undefined) spec.process = { ...spec.process, noNewPrivileges };
      spec.linux = {
        ...spec.linux,
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          listenerPath: agent,
          listenerMetadata: "opaque",
          flags: ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
          syscalls: [{ names, action: "SCMP_ACT_NOTIFY" }],
        },
      };
    });

  for (const noNewPrivileges of [true, false])
    it(`reach the agent ${noNewPrivileges ? "with" : "without"} noNewPrivileges, of the set-up's own calls too`, async () => {
      const agent = await listen(({ number }) => (number === numbers.mkdir ? { errno: EPERM } : "continue"));
      const id = fixture.newId();
      write(
        ["sh", "-c", "mkdir /made; hostname"],
        [mkdirName, "uname", "sendmsg"],
        agent.path,
        noNewPrivileges,
      );
      const created = await fixture.run(["create", id]);
      assert.equal(created.status, 0, created.stderr);
      const state = JSON.parse((await fixture.run(["state", id])).stdout) as { pid: number };
      await agent.received(1);
      assert.deepEqual(agent.states, [
        {
          ociVersion: "1.2.0",
          fds: ["seccompFd"],
          pid: state.pid,
          metadata: "opaque",
          state: {
            ociVersion: "1.2.0",
            id,
            status: "creating",
            pid: state.pid,
            bundle: fixture.bundle,
            annotations: { key: "value" },
          },
        },
      ]);
      await fixture.run(["delete", "--force", id]);
      // The same to its end, to see what the program itself is told.
      const { stdout, stderr, status } = await fixture.run(["run", id]);
      assert.equal(status, 0, stderr);
      assert.equal(stdout, "cricket\n");
      assert.match(stderr, /can't create directory '\/made': Operation not permitted/);
      // How the process says that it waits at its gate.
      assert.ok(agent.calls.includes(numbers.sendmsg));
      assert.ok(agent.calls.includes(numbers.uname));
      agent.close();
    });

  it("reach the agent from an exec, with a descriptor of its own", async () => {
    const agent = await listen(({ number }) => (number === numbers.mkdir ? { errno: EPERM } : "continue"));
    const id = fixture.newId();
    write(["sleep", "1000"], [mkdirName], agent.path, true);
    assert.equal((await fixture.run(["run", "--detach", id])).status, 0);
    const { stderr } = await fixture.run(["exec", id, "mkdir", "/made"]);
    assert.match(stderr, /Operation not permitted/);
    await agent.received(2);
    const [first, second] = agent.states;
    assert.equal(second?.state.status, "running");
    assert.equal(second?.state.pid, first?.pid);
    assert.notEqual(second?.pid, first?.pid);
    await fixture.run(["delete", "--force", id]);
    agent.close();
  });

  it("without an agent end the create, and nothing is left", async () => {
    const id = fixture.newId();
    write(["true"], [mkdirName], join(fixture.directory, "nobody.sock"), true);
    const { status, stderr } = await fixture.run(["create", id]);
    assert.equal(status, 1);
    assert.match(stderr, /linux\.seccomp\.listenerPath .*nobody\.sock.*ENOENT/);
    assert.match((await fixture.run(["state", id])).stderr, /does not exist/);
  });
});
