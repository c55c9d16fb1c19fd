// linux.seccomp against the kernel: what becomes of a program's calls.
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type { Seccomp } from "../../../src/oci/linux-spec.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

const isX64 = process.arch === "x64";
// getpid, getppid, uname, sync
const numbers = isX64
  ? { getppid: 110, sched_yield: 24, sync: 162 }
  : { getppid: 173, sched_yield: 124, sync: 81 };

describe("linux.seccomp", requires("root", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());

  const call = async (seccomp: Seccomp, ...args: (string | number)[]): Promise<string[]> =>
    (
      await fixture.output(["probe", "call", ...args.map(String)], (spec) => {
        spec.linux = { ...spec.linux, seccomp };
      })
    )
      .trim()
      .split("\n");
  const rule = (action: NonNullable<Seccomp["syscalls"]>[number]["action"], errnoRet?: number): Seccomp => ({
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["getppid"], action, ...(errnoRet === undefined ? {} : { errnoRet }) }],
  });

  it("answers errnos, traps, logs, and ENOSYS where there is no tracer", async () => {
    assert.deepEqual(await call(rule("SCMP_ACT_ERRNO"), "native", numbers.getppid, numbers.sched_yield), [
      "EPERM",
      "ok",
    ]);
    assert.deepEqual(await call(rule("SCMP_ACT_ERRNO", 13), "native", numbers.getppid), ["EACCES"]);
    assert.deepEqual(await call(rule("SCMP_ACT_TRAP"), "native", numbers.getppid), ["SIGSYS"]);
    assert.deepEqual(await call(rule("SCMP_ACT_LOG"), "native", numbers.getppid), ["ok"]);
    assert.deepEqual(await call(rule("SCMP_ACT_TRACE", 5), "native", numbers.getppid), ["ENOSYS"]);
  });

  it("kills the thread or the process", async () => {
    for (const action of ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] as const) {
      fixture.write(["probe", "call", "native", String(numbers.getppid)], (spec) => {
        spec.linux = { ...spec.linux, seccomp: rule(action) };
      });
      const { status, stdout } = await fixture.run(["run", fixture.newId()]);
      // 128 + SIGSYS
      assert.deepEqual([status, stdout], [159, ""], action);
    }
  });

  it("covers the other architectures that it names, and kills calls of those that it does not", async (t) => {
    if (!isX64) {
      t.skip("needs x86-64 with 32-bit calls");
      return;
    }
    const getppid32 = 64;
    const filter = rule("SCMP_ACT_ERRNO", 13);
    const architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    assert.deepEqual(await call({ ...filter, architectures }, "i386", getppid32), ["EACCES"]);
    assert.deepEqual(await call({ ...filter, architectures }, "x32", numbers.getppid), ["EACCES"]);
    fixture.write(["probe", "call", "i386", String(getppid32)], (spec) => {
      spec.linux = { ...spec.linux, seccomp: { ...filter, architectures: ["SCMP_ARCH_X86_64"] } };
    });
    assert.equal((await fixture.run(["run", fixture.newId()])).status, 159);
  });

  it("answers ENOSYS to calls that are younger than the profile", async () => {
    const known = ["read", "write", "execve", "exit_group", "rt_sigaction", "rt_sigprocmask", "brk", "mmap"];
    const more = ["arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "readlinkat"];
    const others = ["readlink", "getrandom", "mprotect", "newfstatat", "fstat", "ioctl", "rt_sigreturn"];
    const seccomp: Seccomp = {
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [{ names: [...known, ...more, ...others], action: "SCMP_ACT_ALLOW" }],
    };
    assert.deepEqual(await call(seccomp, "native", numbers.sync, 460), ["EPERM", "ENOSYS"]);
  });

  // With noNewPrivileges the filter comes last: nothing of the set-up is under it.
  it("needs to allow nothing for the launch but execve", async () => {
    const names = ["execve", "write", "exit_group", "exit"];
    const own = isX64
      ? ["arch_prctl", "rt_sigaction", "rt_sigprocmask", "brk"]
      : ["rt_sigaction", "rt_sigprocmask", "brk"];
    const libc = [
      "set_tid_address",
      "set_robust_list",
      "rseq",
      "prlimit64",
      "readlinkat",
      "readlink",
      "getrandom",
    ];
    const more = ["mprotect", "newfstatat", "fstat", "sched_yield"];
    const seccomp: Seccomp = {
      defaultAction: "SCMP_ACT_KILL_PROCESS",
      syscalls: [{ names: [...names, ...own, ...libc, ...more], action: "SCMP_ACT_ALLOW" }],
    };
    assert.deepEqual(await call(seccomp, "native", numbers.sched_yield), ["ok"]);
  });

  it("refuses a flag that this kernel does not have, by name", async () => {
    const refused = await fixture.refusal((spec) => {
      spec.linux = { ...spec.linux, seccomp: { defaultAction: "SCMP_ACT_ALLOW", flags: ["FLAG"] } };
    });
    assert.match(refused, /linux\.seccomp\.flags has \\?"FLAG/);
  });
});
