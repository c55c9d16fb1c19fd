// Root filesystems whose layers are idmapped, as containers in a user namespace have them.
import assert from "node:assert/strict";
import {
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openNamespace } from "../../../src/linux/files.ts";
import { HelperBinary } from "../../../src/linux/helper-binary.ts";
import { isAtLeast, parseRelease } from "../../../src/linux/kernel-release.ts";
import { CLONE_NEWUSER } from "../../../src/linux/launch-program.ts";
import { signalPidfd } from "../../../src/linux/pidfd.ts";
import { becomeSubreaper, tryReap } from "../../../src/linux/reap.ts";
import { runSpawn } from "../../../src/linux/run-spawn.ts";
import { probeUserNamespaces } from "../../../src/sandbox/user-namespace-support.ts";
import { prepareContainerLayer } from "../../../src/snapshot/container-layer.ts";
import { createOverlay, type OverlayMethod } from "../../../src/snapshot/overlay.ts";
import { leakFree } from "../../support/leak-check.ts";
import { requires } from "../../support/requires.ts";

const buildDir = join(import.meta.dirname, "../../../build");
const first = 300_000;

describe("createOverlay() with idmapped layers", requires("root", "overlay", "user-namespaces"), () => {
  let root = "";
  let helper: HelperBinary;
  let userNamespace = -1;

  before(async () => {
    becomeSubreaper();
    root = mkdtempSync("/var/lib/cricket-idmapped-test-");
    helper = HelperBinary.load(buildDir);
    const map = `0 ${first} 65536\n`;
    const pause = await runSpawn(helper, {
      steps: [
        { op: "fork", flags: CLONE_NEWUSER, idMaps: { uidMap: map, gidMap: map } },
        { op: "execFd", fd: helper.pauseFd, argv: ["pause"], env: [] },
      ],
    });
    userNamespace = openNamespace(pause.pid, "user");
    signalPidfd(pause.pidfd, 9);
    closeSync(pause.pidfd);
    while (tryReap(pause.pid) === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  });
  after(() => {
    closeSync(userNamespace);
    helper.close();
    rmSync(root, { recursive: true });
  });

  let next = 0;
  const layer = (owners: Record<string, number>): string => {
    const directory = join(root, `layer${next++}`);
    mkdirSync(directory);
    for (const [name, owner] of Object.entries(owners)) {
      writeFileSync(join(directory, name), name);
      chownSync(join(directory, name), owner, owner);
    }
    return directory;
  };
  const writable = (top: string) =>
    prepareContainerLayer(join(root, "containers"), `c${next++}`, top, ({ uid, gid }) => ({
      uid: uid + first,
      gid: gid + first,
    }));
  const seen = (fd: number, ...names: string[]): string => join(`/proc/self/fd/${fd}`, ...names);

  const canAppend = isAtLeast(parseRelease(release()), 6, 7);
  const methods: OverlayMethod[] = canAppend ? ["append", "string", "mount"] : ["string", "mount"];
  for (const method of methods)
    for (const attach of [true, undefined])
      test(
        `maps the owners of all layers (${method}${attach === true ? ", by way of directories" : ""})`,
        leakFree(() => {
          const lowers = [layer({ a: 0, b: 7 }), layer({ b: 8, c: 65_535, d: 70_000 })];
          const before = readdirSync(tmpdir());
          const idmap = { userNamespace, ...(attach === undefined ? {} : { attach }) };
          const fd = createOverlay({ lowers, ...writable(lowers[1] ?? ""), idmap }, method);
          try {
            const owners = ["", "a", "b", "c", "d"].map((name) => statSync(seen(fd, name)).uid);
            assert.deepEqual(owners, [first, first, first + 8, first + 65_535, 65_534]);
            // Copied up as the host's root: what is on the disk then is the host's id.
            writeFileSync(seen(fd, "a"), "changed");
            assert.equal(statSync(seen(fd, "a")).uid, first);
            assert.equal(readFileSync(join(lowers[0] ?? "", "a"), "utf8"), "a");
            assert.deepEqual(readdirSync(tmpdir()), before);
          } finally {
            closeSync(fd);
          }
        }),
      );

  test(
    "maps a single layer that is mounted read-only",
    leakFree(() => {
      const fd = createOverlay({ lowers: [layer({ a: 5 })], readonly: true, idmap: { userNamespace } });
      try {
        assert.equal(statSync(seen(fd, "a")).gid, first + 5);
        assert.throws(() => writeFileSync(seen(fd, "new"), ""), { code: "EROFS" });
      } finally {
        closeSync(fd);
      }
    }),
  );

  test(
    "names the filesystem that has no idmapped mounts",
    leakFree(() => {
      const lowers = ["/proc/sys", layer({})];
      assert.throws(() => createOverlay({ lowers, ...writable(root), idmap: { userNamespace } }), {
        code: "failed-precondition",
        message: /the filesystem of \/proc\/sys has no idmapped mounts, which user namespaces need$/,
      });
    }),
  );

  test(
    "`probeUserNamespaces()` says whether pods can have them, and what is missing",
    leakFree(async () => {
      assert.deepEqual(await probeUserNamespaces(helper, root), { supported: true });
      assert.deepEqual(await probeUserNamespaces(helper, "/proc"), {
        supported: false,
        missing: "the filesystem of /proc has no idmapped mounts, which user namespaces need",
      });
    }),
  );
});
