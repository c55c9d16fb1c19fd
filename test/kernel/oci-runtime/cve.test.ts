// Published escapes through the command line of a runtime: the bundle, or who is in the container, is hostile.
// test/kernel/launch/escapes.test.ts and test/kernel/oci/cve.test.ts have those of single steps and of the CRI.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { IdMapping } from "../../../src/oci/linux-spec.ts";
import { buildDir } from "../../support/launch-fixture.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

describe("an exploit of", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());
  const rootfs = join(fixture.bundle, "rootfs");
  const helper = join(buildDir, "cricket-init");

  const running = async (args = ["sleep", "1000"]): Promise<string> => {
    const id = fixture.newId();
    fixture.write(args, (spec) => void (spec.root = { path: "rootfs" }));
    await fixture.ok("run", "--detach", id);
    return id;
  };

  // The image's program is a script whose interpreter is the runtime that executes it; another process opens it to write.
  it("CVE-2019-5736 finds no binary of the host behind /proc/<pid>/exe of an exec", async () => {
    const before = hashOf(helper);
    writeFileSync(join(rootfs, "evil"), "#!/proc/self/exe\n");
    writeFileSync(
      join(rootfs, "overwrite"),
      `#!/bin/sh
while :; do
  for exe in /proc/[0-9]*/exe; do
    case $(readlink $exe) in /bin/*) ;; "") ;; *) readlink $exe >> /seen; (echo pwned > $exe) 2>> /refused ;; esac
  done
done
`,
    );
    for (const name of ["evil", "overwrite"]) chmodSync(join(rootfs, name), 0o755);
    const id = await running(["/overwrite"]);
    for (let round = 0; round < 3; round++) {
      // What runs is the copy in memory, which finds no program to launch.
      assert.notEqual((await fixture.run(["exec", id, "/evil"])).status, 0);
    }
    await fixture.ok("delete", "--force", id);
    assert.equal(hashOf(helper), before);
    const seen = existsSync(join(rootfs, "seen")) ? readFileSync(join(rootfs, "seen"), "utf8") : "";
    for (const line of seen.split("\n")) assert.match(line, /^$|^\/memfd:|^\/proc\/|busybox/);
  });

  it("CVE-2024-21626 enters no directory of the host, in a container or by an exec", async () => {
    const id = await running();
    for (let fd = 3; fd < 12; fd++) {
      const { status, stdout } = await fixture.run(["exec", "--cwd", `/proc/self/fd/${fd}`, id, "ls"]);
      assert.deepEqual([status, stdout], [255, ""]);
    }
    await fixture.ok("delete", "--force", id);
    await fixture.refusal((spec) => {
      if (spec.process !== undefined) spec.process = { ...spec.process, cwd: "/proc/self/fd/7" };
    });
  });

  // /proc or /sys of the image is a link: what is masked and labelled would be somebody else's.
  for (const name of ["proc", "sys"])
    it(`CVE-2023-27561, CVE-2023-28642 by a link for /${name} is refused`, async () => {
      const outside = join(fixture.directory, `outside-${name}`);
      mkdirSync(outside);
      renameSync(join(rootfs, name), join(rootfs, `${name}.real`));
      symlinkSync(`../../../../../..${outside}`, join(rootfs, name));
      try {
        const id = fixture.newId();
        fixture.write(["true"], (spec) => void (spec.root = { path: "rootfs" }));
        const { status } = await fixture.run(["create", id]);
        // sysfs may be mounted where the link leads inside of the root; proc must be where it belongs.
        if (name === "proc") assert.equal(status, 1);
        await fixture.run(["delete", "--force", id]);
        assert.deepEqual(readdirSync(outside), []);
      } finally {
        rmSync(join(rootfs, name));
        rmSync(join(rootfs, "tmp"), { recursive: true, force: true });
        renameSync(join(rootfs, `${name}.real`), join(rootfs, name));
      }
    });

  // Lengths beyond 16 bits in what is sent to the native part.
  it("CVE-2021-43784 by mappings of more than 64 KiB changes nothing of what follows them", async () => {
    const mappings = Array.from({ length: 6000 }, (_unused, index): IdMapping => ({
      containerID: index * 2,
      hostID: 200_000 + index * 2,
      size: 1,
    }));
    const refused = await fixture.refusal((spec) => {
      spec.linux = {
        ...spec.linux,
        namespaces: [...(spec.linux?.namespaces ?? []), { type: "user" }],
        uidMappings: mappings,
        gidMappings: mappings,
      };
    });
    assert.match(refused, /EINVAL/);
  });

  it("CVE-2022-0811 by a sysctl with another one in its name is refused", async () => {
    const before = readFileSync("/proc/sys/kernel/core_pattern", "utf8");
    for (const [name, value] of [
      ["kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil"],
      ["kernel.shm_rmid_forced=1+kernel.core_pattern", "|/evil"],
      ["kernel.core_pattern", "|/evil"],
      ["net/../kernel/core_pattern", "|/evil"],
    ] as const)
      await fixture.refusal((spec) => {
        spec.linux = { ...spec.linux, sysctl: { [name]: value } };
      });
    assert.equal(readFileSync("/proc/sys/kernel/core_pattern", "utf8"), before);
  });

  // Parsed loosely, or wrapped: the process would be root.
  it("CVE-2026-30892, CVE-2024-40635 by a user that is no user is refused", async () => {
    const id = await running();
    for (const user of [
      "",
      "x",
      "1x",
      "1:",
      ":1",
      "1:x",
      " 1",
      "-1",
      "0x1",
      "4294967295",
      "4294967296",
      "1:4294967295",
    ])
      assert.deepEqual([user, (await fixture.run(["exec", "--user", user, id, "id"])).status], [user, 255]);
    assert.match(await fixture.ok("exec", "--user", "4294967294", id, "id", "-u"), /^4294967294$/m);
    await fixture.ok("delete", "--force", id);
    const refused = await fixture.refusal((spec) => {
      if (spec.process !== undefined) spec.process = { ...spec.process, user: { uid: 4294967295, gid: 0 } };
    });
    assert.match(refused, /process\.user\.uid is 4294967295/);
  });

  it("CVE-2020-15257 finds no abstract socket, and CVE-2024-25621 no directory to look into", async () => {
    const id = fixture.newId();
    fixture.write(["true"]);
    await fixture.ok("create", id);
    const state = join(fixture.directory, "state");
    assert.doesNotMatch(readFileSync("/proc/net/unix", "utf8"), /@.*(cricket|gate)/);
    for (const directory of [state, join(state, id)])
      assert.equal(statSync(directory).mode & 0o777, 0o700, directory);
    assert.equal(statSync(join(state, id, "state.json")).mode & 0o077, 0);
    await fixture.ok("delete", "--force", id);
  });
});
