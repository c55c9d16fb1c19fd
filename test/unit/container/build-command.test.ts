import assert from "node:assert/strict";
import { test } from "node:test";
import { buildArgs, buildCwd, buildEnv } from "../../../src/container/build-command.ts";
import { containerConfig, imageConfig, specInput } from "./container-fixtures.ts";

const image = imageConfig({ entrypoint: ["/entry"], cmd: ["a", "b"] });

// CRI ContainerConfig: command stands for the entrypoint, args for the cmd.
const commands: [command: string[], args: string[], expected: string[]][] = [
  [[], [], ["/entry", "a", "b"]],
  [[], ["x"], ["/entry", "x"]],
  [["/c"], [], ["/c"]],
  [["/c"], ["x"], ["/c", "x"]],
];
for (const [command, args, expected] of commands)
  test(`\`buildArgs()\` makes ${expected.join(" ")} of command [${command.join()}] and args [${args.join()}]`, () => {
    assert.deepEqual(buildArgs(containerConfig({ command, args }), image), expected);
  });

test("`buildArgs()` refuses a container with nothing to execute", () => {
  assert.throws(() => buildArgs(containerConfig({ command: [] }), imageConfig()), {
    code: "invalid-argument",
    message: "config.command is empty, and the image has neither entrypoint nor cmd",
  });
});

test("`buildArgs()` refuses an argument with a NUL byte", () => {
  assert.throws(() => buildArgs(containerConfig({ args: ["a\0b"] }), imageConfig()), {
    message: "argument 1 of the command has a NUL byte",
  });
});

test("`buildCwd()` takes the CRI's directory before the image's, and / without either", () => {
  assert.equal(
    buildCwd(containerConfig({ workingDir: "/cri" }), imageConfig({ workingDir: "/image" })),
    "/cri",
  );
  assert.equal(buildCwd(containerConfig(), imageConfig({ workingDir: "/image/" })), "/image");
  assert.equal(buildCwd(containerConfig(), imageConfig()), "/");
});

test("`buildCwd()` makes an image's relative directory absolute and takes .. out", () => {
  assert.equal(buildCwd(containerConfig(), imageConfig({ workingDir: "srv/../app" })), "/app");
  assert.equal(buildCwd(containerConfig(), imageConfig({ workingDir: "../../x" })), "/x");
});

test("`buildCwd()` refuses a relative directory from the CRI", () => {
  assert.throws(() => buildCwd(containerConfig({ workingDir: "srv" }), imageConfig()), {
    code: "invalid-argument",
    message: 'config.working_dir is "srv": not an absolute path',
  });
});

const text = (lines: Uint8Array[]): string[] => lines.map((line) => Buffer.from(line).toString("latin1"));

test("`buildEnv()` lets the image override the defaults and the CRI both", () => {
  const input = specInput({
    config: containerConfig({
      tty: true,
      envs: [
        { key: "B", value: Buffer.from("cri") },
        { key: "C", value: Buffer.from("") },
      ],
    }),
    image: imageConfig({ env: ["PATH=/image", "A=image", "B=image", "no variable"] }),
  });
  assert.deepEqual(text(buildEnv({ ...input, host: { ...input.host, defaultEnv: ["A=host", "D=host"] } })), [
    "PATH=/image",
    "HOSTNAME=pod-a",
    "TERM=xterm",
    "A=image",
    "D=host",
    "B=cri",
    "C=",
    "HOME=/root",
  ]);
});

test("`buildEnv()` keeps a HOME that somebody set", () => {
  const lines = text(buildEnv(specInput({ image: imageConfig({ env: ["HOME=/srv"] }) })));
  assert.deepEqual(
    lines.filter((line) => line.startsWith("HOME=")),
    ["HOME=/srv"],
  );
});

test("`buildEnv()` keeps bytes that are not UTF-8", () => {
  const config = containerConfig({ envs: [{ key: "RAW", value: Buffer.from([0xff, 0xfe, 0x3d]) }] });
  const line = buildEnv(specInput({ config })).find((entry) =>
    Buffer.from(entry).toString().startsWith("RAW"),
  );
  assert.deepEqual([...(line ?? [])], [...Buffer.from("RAW="), 0xff, 0xfe, 0x3d]);
});

for (const key of ["", "A=B", "A\0B"])
  test(`\`buildEnv()\` refuses the variable name ${JSON.stringify(key)}`, () => {
    const config = containerConfig({ envs: [{ key, value: Buffer.from("x") }] });
    assert.throws(() => buildEnv(specInput({ config })), {
      code: "invalid-argument",
      message: /^config\.envs\[0\]\.key/,
    });
  });

test("`buildEnv()` refuses a NUL byte in a value, which would cut it off", () => {
  const config = containerConfig({ envs: [{ key: "A", value: Buffer.from("a\0b") }] });
  assert.throws(() => buildEnv(specInput({ config })), { message: "config.envs[0].value has a NUL byte" });
});
