import assert from "node:assert/strict";
import { test } from "node:test";
import {
  compileInvocation,
  createArgs,
  execArgs,
  invocationFiles,
  verbArgs,
} from "../../../../src/oci/external/runtime-command.ts";

const command = { name: "r", path: "/bin/runc", root: "/run/r", timeoutMs: 1000 };
const global = "/bin/runc --root /run/r --log /b/runtime.log --log-format json";

test("the command lines are runc's", () => {
  const files = invocationFiles("/b");
  const words = (args: string[]): string => args.join(" ");
  const create = { id: "c1", files };
  assert.equal(
    words(createArgs(command, { ...create, terminal: false })),
    `${global} create --bundle /b --pid-file /b/pid c1`,
  );
  assert.match(
    words(createArgs(command, { ...create, terminal: true })),
    / --console-socket console\.sock c1$/,
  );
  const exec = { id: "c1", files, process: "/b/process.json" };
  assert.equal(
    words(execArgs(command, { ...exec, terminal: false })),
    `${global} exec --detach --process /b/process.json --pid-file /b/pid c1`,
  );
  assert.match(
    words(execArgs(command, { ...exec, terminal: true })),
    / --tty --console-socket console\.sock c1$/,
  );
  assert.equal(words(verbArgs(command, files.log, ["kill", "c1", "15"])), `${global} kill c1 15`);
});

test("an invocation dies with its host, and sees nothing of the daemon's environment", () => {
  const { steps } = compileInvocation(["/bin/runc", "start"]);
  assert.deepEqual(
    steps.map(({ op }) => op),
    ["fork", "newSession", "parentDeathSignal", "exec"],
  );
  const exec = steps.at(-1);
  assert.ok(exec?.op === "exec");
  assert.deepEqual(exec.argv, ["/bin/runc", "start"]);
  assert.match(Buffer.concat(exec.env).toString(), /^PATH=/);
});
