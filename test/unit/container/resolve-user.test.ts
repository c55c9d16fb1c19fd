import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { resolveUser, type ResolvedUser } from "../../../src/container/resolve-user.ts";
import type { ContainerSecurity } from "../../../src/container/container-config.ts";
import { security } from "./container-fixtures.ts";

let root: string;
let fd: number;

const passwd = `root:x:0:0:root:/root:/bin/sh
# a comment
broken line
daemon:x:1:1:daemon:/usr/sbin:/sbin/nologin
app:x:1000:2000:App:/home/app:/bin/sh
nohome:x:1001:2001:::
huge:x:4294967296:0::/:
negative:x:-1:0::/:
`;
const group = `root:x:0:
web:x:3000:app,daemon
www:x:3001:daemon,app,
other:x:3002:application
huge:x:4294967296:app
`;

before(() => {
  root = mkdtempSync(join(tmpdir(), "cricket-users-"));
  mkdirSync(join(root, "etc"));
  writeFileSync(join(root, "etc/passwd"), passwd);
  writeFileSync(join(root, "etc/group"), group);
  fd = openSync(root, "r");
});
after(() => {
  closeSync(fd);
  rmSync(root, { recursive: true });
});

const resolve = (imageUser: string, runAs: Partial<ContainerSecurity> = {}): ResolvedUser =>
  resolveUser(fd, security(runAs), imageUser);

const users: [imageUser: string, uid: number, gid: number, groups: number[], home: string][] = [
  ["", 0, 0, [0], "/root"],
  ["0", 0, 0, [0], "/root"],
  ["app", 1000, 2000, [2000, 3000, 3001], "/home/app"],
  ["1000", 1000, 2000, [2000, 3000, 3001], "/home/app"],
  ["1000:5", 1000, 5, [5, 3000, 3001], "/home/app"],
  ["app:web", 1000, 3000, [3000, 3001], "/home/app"],
  ["app:0", 1000, 0, [0, 3000, 3001], "/home/app"],
  ["4711", 4711, 0, [0], "/"],
  ["4711:web", 4711, 3000, [3000], "/"],
  [":web", 0, 3000, [3000], "/root"],
  ["nohome", 1001, 2001, [2001], "/"],
  ["2147483647", 2147483647, 0, [0], "/"],
];
for (const [imageUser, uid, gid, additionalGids, home] of users)
  test(`\`resolveUser()\` takes the image's user ${JSON.stringify(imageUser)} as ${uid}:${gid}`, () => {
    assert.deepEqual(resolve(imageUser), { uid, gid, additionalGids, home });
  });

test("`resolveUser()` takes run_as_user before run_as_username before the image's user", () => {
  assert.equal(resolve("app", { runAsUser: 1, runAsUsername: "nohome" }).uid, 1);
  assert.equal(resolve("app", { runAsUsername: "nohome" }).uid, 1001);
});

test("`resolveUser()` drops the image's group with the image's user", () => {
  assert.equal(resolve("app:web", { runAsUser: 4711 }).gid, 0);
});

test("`resolveUser()` takes run_as_group before the passwd file's", () => {
  const user = resolve("", { runAsUser: 1000, runAsGroup: 77 });
  assert.deepEqual([user.gid, user.additionalGids], [77, [77, 3000, 3001]]);
});

test("`resolveUser()` refuses run_as_group alone", () => {
  assert.throws(() => resolve("app", { runAsGroup: 5 }), {
    code: "invalid-argument",
    message: "config.linux.security_context.run_as_group is set without run_as_user or run_as_username",
  });
});

test("`resolveUser()` adds supplemental groups, and with policy strict only those", () => {
  const groups = { runAsUser: 1000, supplementalGroups: [5, 3000, 5] };
  assert.deepEqual(resolve("", groups).additionalGids, [2000, 3000, 3001, 5]);
  assert.deepEqual(
    resolve("", { ...groups, supplementalGroupsPolicy: "strict" }).additionalGids,
    [2000, 5, 3000],
  );
});

test("`resolveUser()` refuses a username that the image does not have", () => {
  assert.throws(() => resolve("", { runAsUsername: "ghost" }), {
    code: "invalid-argument",
    message:
      'config.linux.security_context.run_as_username is "ghost": the image\'s /etc/passwd has no such user',
  });
  assert.throws(() => resolve("ghost"), { code: "failed-precondition" });
  assert.throws(() => resolve("app:ghosts"), { code: "failed-precondition" });
});

test("`resolveUser()` looks run_as_username up as a name even when it is made of digits", () => {
  assert.throws(() => resolve("", { runAsUsername: "1000" }), { code: "invalid-argument" });
});

// CVE-2024-40635, CVE-2026-47262: an id beyond 2^31-1, or junk, must never come out as 0.
for (const imageUser of [
  "2147483648",
  "4294967296",
  "18446744073709551616",
  "0:4294967296",
  "-1",
  "+1",
  "0x0",
  "1e3",
  " 0",
  "0 ",
  "\t0",
  "huge",
  "negative",
])
  test(`CVE-2024-40635: \`resolveUser()\` refuses the image's user ${JSON.stringify(imageUser)}`, () => {
    assert.throws(() => resolve(imageUser), { code: "failed-precondition" });
  });
for (const id of [-1, 2147483648, 4294967296, 1.5, Number.NaN])
  test(`CVE-2024-40635: \`resolveUser()\` refuses run_as_user ${id}`, () => {
    assert.throws(() => resolve("", { runAsUser: id }), { code: "invalid-argument", message: /run_as_user/ });
    assert.throws(() => resolve("", { runAsUser: 1, runAsGroup: id }), { message: /run_as_group/ });
    assert.throws(() => resolve("", { supplementalGroups: [id] }), { message: /supplemental_groups/ });
  });

// CVE-2026-30892: what comes after the colon was ignored, so that a wrong USER ran as somebody else.
for (const imageUser of ["app:", "app:web:x", "1000:", ":", "1000:5:6", "1000:5x:"])
  test(`CVE-2026-30892: \`resolveUser()\` refuses the image's user ${JSON.stringify(imageUser)}`, () => {
    assert.throws(() => resolve(imageUser), { code: "failed-precondition" });
  });

// CVE-2022-4318: a newline in a name or home directory became a line of /etc/passwd.
for (const name of ["app\nevil:x:0:0::/:", "app\r", "a:b", "a\0b"])
  test(`CVE-2022-4318: \`resolveUser()\` refuses the username ${JSON.stringify(name)}`, () => {
    assert.throws(() => resolve("", { runAsUsername: name }), { code: "invalid-argument" });
    assert.throws(() => resolve(name), { code: "failed-precondition" });
  });

function withRoot(prepare: (etc: string) => void, check: (rootFd: number) => void): void {
  const directory = mkdtempSync(join(tmpdir(), "cricket-users-"));
  mkdirSync(join(directory, "etc"));
  const rootFd = openSync(directory, "r");
  try {
    prepare(join(directory, "etc"));
    check(rootFd);
  } finally {
    closeSync(rootFd);
    rmSync(directory, { recursive: true });
  }
}

test("`resolveUser()` takes an image without passwd and group files", () => {
  withRoot(
    () => {},
    (rootFd) => {
      const expected = { uid: 5, gid: 6, additionalGids: [6], home: "/" };
      assert.deepEqual(resolveUser(rootFd, security(), "5:6"), expected);
    },
  );
});

// CVE-2025-4437: the whole file was read into memory.
test("CVE-2025-4437: `resolveUser()` refuses a passwd file of 100 MB without reading it whole", () => {
  withRoot(
    (etc) => execFileSync("truncate", ["-s", "100M", join(etc, "passwd")]),
    (rootFd) => {
      assert.throws(() => resolveUser(rootFd, security(), "app"), {
        code: "failed-precondition",
        message: /^\/etc\/passwd of the image is longer than/,
      });
    },
  );
});

test("CVE-2025-4437: `resolveUser()` passes over a line that is too long, and reads on", () => {
  const long = `app:x:1:1:${"x".repeat(200_000)}:/:`;
  withRoot(
    (etc) => writeFileSync(join(etc, "passwd"), `${long}\napp:x:7:8::/home/app:`),
    (rootFd) => assert.equal(resolveUser(rootFd, security(), "app").uid, 7),
  );
});

test("`resolveUser()` refuses a passwd file that is a FIFO, and does not wait for it", () => {
  withRoot(
    (etc) => execFileSync("mkfifo", [join(etc, "passwd")]),
    (rootFd) =>
      assert.throws(() => resolveUser(rootFd, security(), "app"), { message: /is not a regular file$/ }),
  );
});

test("`resolveUser()` resolves a link inside the rootfs, never outside of it", () => {
  withRoot(
    (etc) => {
      mkdirSync(join(etc, "inner"));
      writeFileSync(join(etc, "inner/passwd"), "app:x:9:9::/:");
      symlinkSync("/../../etc/inner/passwd", join(etc, "passwd"));
    },
    (rootFd) => assert.equal(resolveUser(rootFd, security(), "app").uid, 9),
  );
  withRoot(
    (etc) => symlinkSync("/proc/self/root/etc/passwd", join(etc, "passwd")),
    (rootFd) => assert.throws(() => resolveUser(rootFd, security(), "root"), { code: "failed-precondition" }),
  );
});

test("`resolveUser()` reads lines that cross the buffer, in any encoding", () => {
  const filler = Array.from({ length: 3000 }, (_unused, index) => `ü${index}:x:${index}:${index}::/:`);
  withRoot(
    (etc) => writeFileSync(join(etc, "passwd"), [...filler, "ünder:x:70:71::/home/ü:"].join("\n")),
    (rootFd) => {
      const expected = { uid: 70, gid: 71, additionalGids: [71], home: "/home/ü" };
      assert.deepEqual(resolveUser(rootFd, security(), "ünder"), expected);
      assert.equal(resolveUser(rootFd, security(), "ü2999").uid, 2999);
    },
  );
});
