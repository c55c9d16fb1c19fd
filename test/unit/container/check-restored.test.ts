// What the processes of a checkpoint may not have, whatever its images say.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkMounts, checkStatus, parseStatus } from "../../../src/container/check-restored.ts";
import { parseMountinfo } from "../../../src/linux/mountinfo.ts";
import type { Process, Spec } from "../../../src/oci/spec.ts";

const zero = "0000000000000000";
const status = (change: Record<string, string> = {}): Map<string, string> => {
  const lines = { Uid: "0\t0\t0\t0", Gid: "0\t0\t0\t0", Groups: "", NoNewPrivs: "1", Seccomp: "2" };
  const sets = { CapInh: zero, CapPrm: zero, CapEff: zero, CapBnd: zero, CapAmb: zero };
  const all = Object.entries({ ...lines, ...sets, ...change });
  return parseStatus(all.map(([name, value]) => `${name}:\t${value}\n`).join(""));
};
const process = (more: Partial<Process> = {}): Process => ({
  args: ["x"],
  cwd: "/",
  user: { uid: 0, gid: 0 },
  capabilities: { bounding: ["CAP_CHOWN"] },
  noNewPrivileges: true,
  ...more,
});

describe("the status of a restored process", () => {
  it("is within the spec", () => assert.equal(checkStatus(status(), process(), true), undefined));

  it("no set of capabilities has more than the bounding set", () => {
    assert.equal(checkStatus(status({ CapBnd: "0000000000000001" }), process(), true), undefined);
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
      assert.equal(
        checkStatus(status({ [set]: "0000000000200001" }), process(), true),
        `${set} has CAP_SYS_ADMIN`,
      );
  });

  it("no_new_privs and a seccomp filter where the spec has them", () => {
    assert.match(checkStatus(status({ NoNewPrivs: "0" }), process(), true) ?? "", /gain privileges/);
    assert.match(checkStatus(status({ Seccomp: "0" }), process(), true) ?? "", /seccomp/);
    const lax = process({ noNewPrivileges: false });
    assert.equal(checkStatus(status({ NoNewPrivs: "0", Seccomp: "0" }), lax, false), undefined);
  });

  it("another user or group than the spec's, unless that is root", () => {
    const user = process({ user: { uid: 5, gid: 6, additionalGids: [7] } });
    const good = { Uid: "5\t5\t5\t5", Gid: "6\t6\t6\t6", Groups: "6 7 " };
    assert.equal(checkStatus(status(good), user, true), undefined);
    assert.match(checkStatus(status({ ...good, Uid: "5\t5\t0\t5" }), user, true) ?? "", /user 0, not 5/);
    assert.match(checkStatus(status({ ...good, Groups: "6 8" }), user, true) ?? "", /group 8/);
    assert.equal(checkStatus(status(good), process(), true), undefined);
  });
});

describe("the mounts of a restored container", () => {
  const lines = {
    root: "1 0 0:50 / / rw - overlay overlay rw",
    proc: "2 1 0:51 / /proc rw - proc proc rw",
    sys: "3 2 0:51 /sys /proc/sys ro - proc proc rw",
    kcore: "4 2 0:6 /null /proc/kcore rw - devtmpfs devtmpfs rw",
    data: "5 1 8:1 /srv /run/data ro - ext4 /dev/a rw",
  };
  const spec: Spec = {
    ociVersion: "1.2.0",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/var/run/data", type: "bind", source: "/srv", options: ["rbind", "ro"] },
    ],
    linux: { readonlyPaths: ["/proc/sys", "/proc/none"], maskedPaths: ["/proc/kcore", "/proc/none"] },
  };
  const check = (change: Record<string, string> = {}): void => {
    const mounts = parseMountinfo(Object.values({ ...lines, ...change }).join("\n"));
    const real = (path: string): string => path.replace(/^\/var\/run/, "/run");
    checkMounts(mounts, spec, (path) => {
      if (path === "/proc/none") return undefined;
      const on = mounts.filter(({ mountPoint }) => `${real(path)}/`.startsWith(`${mountPoint}/`));
      return on.at(-1)?.mountPoint ?? "/";
    });
  };

  it("are as the spec has them", () => check());
  it("one that the checkpoint did not have is not there", () => check({ data: "" }));
  for (const [what, change, said] of [
    ["a mount of the host", { more: "9 1 8:1 / /host rw - ext4 /dev/a rw" }, /ext4 is mounted on \/host/],
    ["another overlay", { more: "9 1 0:60 / /host rw - overlay o rw" }, /overlay is mounted on \/host/],
    [
      "a volume that may be written",
      { data: lines.data.replace(" ro ", " rw ") },
      /\/run\/data is not read-only/,
    ],
    ["a path that may be written", { sys: "" }, /\/proc\/sys is not read-only/],
    ["a path that is not masked", { kcore: "" }, /\/proc\/kcore is not masked/],
  ] as const)
    it(`${what} is refused`, () => assert.throws(() => check(change), said));
});
