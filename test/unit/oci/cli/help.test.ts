import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";

const program = path.resolve(import.meta.dirname, "../../../../src/main.ts");

const ociOutput = (...argv: string[]): string =>
  execFileSync(process.execPath, ["--import", "tsx", program, "oci", ...argv], { encoding: "utf8" });

test("`cricket oci` without a verb lists verbs and options", () => {
  const help = ociOutput();
  assert.match(help, /^ {2}create +make a container/m);
  assert.match(help, /^ +--root DIR +where/m);
  assert.equal(ociOutput("--help"), help);
});

test("`cricket oci VERB --help` lists the options of the verb", () => {
  const help = ociOutput("exec", "--help");
  assert.match(help, /^usage: cricket oci exec \[OPTION\.\.\.\] CONTAINER COMMAND \[ARG\.\.\.\]$/m);
  assert.match(help, /^ {2}-e, --env NAME=VALUE +an environment variable more; again and again$/m);
  assert.equal(ociOutput("help", "exec"), help);
});
