// Hooks: order, state on stdin, namespaces they run in, time-outs, and what a failure means (runtime.md#lifecycle).
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { Hook, Hooks } from "../../../src/oci/spec.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

const kinds = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const satisfies readonly (keyof Hooks)[];

describe("hooks of cricket oci", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());
  const log = join(fixture.directory, "hooks.log");
  // startContainer's hooks see the container's files only.
  const shared = join(fixture.bundle, "rootfs/hooks");
  mkdirSync(shared, { recursive: true });

  const shell = (script: string, more: Partial<Hook> = {}): Hook => ({
    path: "/bin/sh",
    args: ["sh", "-c", script],
    ...more,
  });
  const write = (hooks: Hooks, args = ["true"]): void =>
    fixture.write(args, (spec) => {
      spec.root = { path: "rootfs" };
      spec.hooks = hooks;
    });
  const record = (kind: keyof Hooks, number: number): Hook => {
    const file = kind === "startContainer" ? "/hooks/log" : log;
    return shell(
      `read -r state; echo "${kind} ${number} $(readlink /proc/self/ns/net) $VARIABLE $state" >> ${file}`,
      { env: ["PATH=/bin:/usr/bin", `VARIABLE=v${number}`] },
    );
  };

  it("run in the order of the life cycle and of their lists, each with the state and its own environment", async () => {
    const id = fixture.newId();
    write(Object.fromEntries(kinds.map((kind) => [kind, [record(kind, 1), record(kind, 2)]])));
    await fixture.ok("run", id);
    const inside = readFileSync(join(shared, "log"), "utf8").trim().split("\n");
    const outside = readFileSync(log, "utf8").trim().split("\n");
    const parsed = [...outside, ...inside].map((line) => {
      const [kind = "", number = "", netns = "", variable = ""] = line.split(" ", 4);
      const state = JSON.parse(line.slice(line.indexOf("{"))) as Record<string, unknown>;
      return { kind, number, netns, variable, state };
    });
    assert.deepEqual(
      parsed.map(({ kind, number }) => `${kind} ${number}`),
      ["prestart", "createRuntime", "createContainer", "poststart", "poststop", "startContainer"].flatMap(
        (kind) => [`${kind} 1`, `${kind} 2`],
      ),
    );
    const own = readlinkSync("/proc/self/ns/net");
    const statuses: Record<string, string> = {
      prestart: "creating",
      createRuntime: "creating",
      createContainer: "creating",
      startContainer: "created",
      poststart: "running",
      poststop: "stopped",
    };
    for (const { kind, number, netns, variable, state } of parsed) {
      assert.equal(variable, `v${number}`);
      // createContainer and startContainer run in the container's namespaces, the others in the runtime's.
      assert.equal(netns === own, kind !== "createContainer" && kind !== "startContainer", kind);
      assert.deepEqual([state["id"], state["bundle"]], [id, fixture.bundle]);
      // The program may have ended before poststart looks.
      if (kind !== "poststart") assert.equal(state["status"], statuses[kind], kind);
    }
  });

  for (const kind of ["prestart", "createRuntime", "createContainer"] as const)
    for (const [what, hook] of [
      ["fails", shell("exit 1")],
      ["is not there", { path: "/nowhere/hook" }],
      ["takes too long", shell("exec sleep 100", { timeout: 1, env: ["PATH=/bin:/usr/bin"] })],
    ] as const)
      it(`${kind}: a hook that ${what} ends the create; poststop hooks run, and nothing is left`, async () => {
        rmSync(log, { force: true });
        const id = fixture.newId();
        write({ [kind]: [hook, record(kind, 2)], poststop: [record("poststop", 1)] });
        const { status, stderr } = await fixture.run(["create", id]);
        assert.equal(status, 1);
        assert.match(stderr, /hook/);
        assert.match((await fixture.run(["state", id])).stderr, /does not exist/);
        assert.match(readFileSync(log, "utf8"), /^poststop 1 [^\n]*\n$/);
      });

  for (const [what, hook] of [
    ["fails", shell("exit 1")],
    ["takes too long", shell("exec sleep 100", { timeout: 1 })],
  ] as const)
    it(`startContainer: a hook that ${what} ends the start and the container, and the program never runs`, async () => {
      const id = fixture.newId();
      rmSync(join(shared, "ran"), { force: true });
      write({ startContainer: [hook] }, ["touch", "/hooks/ran"]);
      await fixture.ok("create", id);
      const { status, stderr } = await fixture.run(["start", id]);
      assert.equal(status, 1);
      assert.match(stderr, /hook/);
      assert.equal(existsSync(join(shared, "ran")), false);
      assert.match((await fixture.run(["state", id])).stderr, /does not exist/);
    });

  it("poststart: a hook that fails is an error and ends the container; poststop hooks run", async () => {
    const id = fixture.newId();
    rmSync(log, { force: true });
    write({ poststart: [shell("exit 1"), record("poststart", 2)], poststop: [record("poststop", 1)] }, [
      "sleep",
      "1000",
    ]);
    await fixture.ok("create", id);
    const { status, stderr } = await fixture.run(["start", id]);
    assert.deepEqual([status, /poststart hook #0/.test(stderr)], [1, true]);
    assert.match((await fixture.run(["state", id])).stderr, /does not exist/);
    assert.match(readFileSync(log, "utf8"), /^poststop 1 [^\n]*\n$/);
  });

  // "the runtime MUST log a warning, but the remaining hooks and lifecycle continue".
  it("poststop: a hook that fails is a warning, and the next one runs", async () => {
    const id = fixture.newId();
    rmSync(log, { force: true });
    write({ poststop: [shell("exit 1"), record("poststop", 2)] });
    const { status, stderr } = await fixture.run(["run", id]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /level=warning msg="poststop hook #0/);
    assert.match(readFileSync(log, "utf8"), /^poststop 2 /);
  });
});
