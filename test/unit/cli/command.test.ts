import assert from "node:assert/strict";
import { test } from "node:test";
import {
  defineCommand,
  helpOf,
  parseCommandLine,
  UsageError,
  type Command,
} from "../../../src/cli/command.ts";

const command = defineCommand({
  operands: "IMAGE [ARG...]",
  summary: "run things",
  options: {
    env: { short: "e", value: "KEY", multiple: true, about: "environment" },
    name: { short: "n", value: "NAME", about: "a name" },
    quiet: { short: "q", about: "say less" },
  },
  arity: [1, 3],
  passesRest: true,
  run: () => Promise.resolve(0),
}) as unknown as Command;

test("`parseCommandLine()` reads options up to the first operand and leaves the rest alone", () => {
  const { options, operands } = parseCommandLine(command, [
    "-q",
    "-e",
    "A",
    "--env=B",
    "busybox",
    "ls",
    "-q",
  ]);
  assert.equal(options["quiet"], true);
  assert.deepEqual(options["env"], ["A", "B"]);
  assert.equal(options["name"], undefined);
  assert.deepEqual(operands, ["busybox", "ls", "-q"]);
});

test("`parseCommandLine()` ends options at --", () => {
  const { options, operands } = parseCommandLine(command, ["--", "-q", "x"]);
  assert.equal(options["quiet"], false);
  assert.deepEqual(operands, ["-q", "x"]);
});

test("`parseCommandLine()` refuses unknown options, missing values and wrong numbers of operands", () => {
  for (const [argv, message] of [
    [["--bogus", "x"], /unknown option '--bogus'/],
    [["-n"], /argument missing/],
    [["--quiet=yes", "x"], /does not take an argument/],
    [[], /IMAGE \[ARG\.\.\.\] is missing/],
    [["a", "b", "c", "d"], /too many operands/],
  ] as const)
    assert.throws(
      () => parseCommandLine(command, argv),
      (error) => error instanceof UsageError && message.test(error.message),
    );
});

test("`parseCommandLine()` wants no operands beside --help", () => {
  assert.equal(parseCommandLine(command, ["--help"]).options["help"], true);
});

test("`helpOf()` lists every option with its value", () => {
  const help = helpOf("run", command);
  assert.match(help, /^usage: cricket run \[OPTION\.\.\.\] IMAGE \[ARG\.\.\.\]\n/);
  assert.match(help, /-e, --env KEY +environment\n/);
  assert.match(help, /--endpoint SOCKET /);
});
