import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readBundle, readProcess, readResources } from "../../../../src/oci/runtime/read-bundle.ts";

const directory = mkdtempSync(join(tmpdir(), "cricket-bundle-"));
after(() => rmSync(directory, { recursive: true }));

function write(name: string, value: unknown): string {
  const path = join(directory, name);
  writeFileSync(path, JSON.stringify(value));
  return path;
}

const user = { uid: 0, gid: 0 };
const bundle = (linux: object, capabilities: object = {}): string => {
  write("config.json", { ociVersion: "1.2.0", process: { cwd: "/", user, capabilities }, linux });
  return directory;
};

test("`readBundle()` warns of properties that the runtime-spec does not have, by name", () => {
  const { warnings } = readBundle(bundle({ seccmop: {}, resources: { cpus: 1 } }), false);
  assert.deepEqual(warnings, [
    "linux.resources.cpus is ignored: the runtime-spec does not have it",
    "linux.seccmop is ignored: the runtime-spec does not have it",
  ]);
});

test("`readBundle()` refuses all of them where it is strict", () => {
  assert.throws(() => readBundle(bundle({ seccmop: {}, resources: { cpus: 1 } }), true), {
    code: "invalid-argument",
    message: /config\.json: linux\.resources\.cpus is .*linux\.seccmop is .*\(--strict\)$/,
  });
  assert.deepEqual(readBundle(bundle({}), true).warnings, []);
});

test("`readBundle()` warns of a capability that cannot be given, and refuses it where it is strict", () => {
  const unknown = { bounding: ["CAP_TO_FLY"] };
  const { value, warnings } = readBundle(bundle({}, unknown), false);
  assert.deepEqual(value.process?.capabilities, { bounding: [] });
  assert.match(warnings.join(), /^process\.capabilities: CAP_TO_FLY cannot be given/);
  assert.throws(() => readBundle(bundle({}, unknown), true), /CAP_TO_FLY/);
});

test("`readProcess()` and `readResources()` are as strict", () => {
  const process = write("process.json", { cwd: "/", user, argv: [] });
  assert.match(readProcess(process, false).warnings.join(), /^process\.argv is ignored/);
  assert.throws(() => readProcess(process, true), /process\.argv/);
  const resources = write("resources.json", { cpu: { share: 2 }, devices: [{ allow: true }] });
  const { value, warnings } = readResources(resources, false);
  assert.deepEqual(value.cpu, {});
  assert.deepEqual(
    warnings.map((warning) => warning.split(" ")[0]),
    ["resources.cpu.share", "linux.resources.devices"],
  );
  assert.throws(() => readResources(resources, true), /resources\.cpu\.share/);
});
