import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hasLibseccomp } from "../../../src/linux/seccomp.ts";
import { compileSeccomp } from "../../../src/oci/compile-seccomp.ts";
import type { Seccomp, SeccompArgument, SeccompRule } from "../../../src/oci/linux-spec.ts";
import { defaultSeccompProfile } from "../../../src/oci/seccomp-default.ts";
import { resolveSeccompProfile } from "../../../src/oci/seccomp-profile.ts";
import { AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, runFilter, type SyscallData } from "./bpf-interpreter.ts";

const skip = !hasLibseccomp()
  ? "needs libseccomp.so.2"
  : process.arch !== "x64"
    ? "the syscall numbers here are those of x86-64"
    : false;

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;

const x64 = (number: number, ...args: bigint[]): SyscallData => ({
  number,
  architecture: AUDIT_ARCH_X86_64,
  args,
});

function defaultFilter(...capabilities: string[]): Uint8Array {
  const context = { capabilities, architecture: "amd64", kernelVersion: { major: 6, minor: 18 } };
  return compileSeccomp(resolveSeccompProfile(defaultSeccompProfile, context)).program;
}

describe("the RuntimeDefault profile", { skip }, () => {
  const CLONE_NEWUSER = 0x10000000n;
  const cases: [what: string, syscall: SyscallData, capabilities: string[], expected: number][] = [
    ["allows read", x64(0), [], ALLOW],
    ["allows execve", x64(59), [], ALLOW],
    ["refuses mount", x64(165), [], EPERM],
    ["allows mount with CAP_SYS_ADMIN", x64(165), ["CAP_SYS_ADMIN"], ALLOW],
    ["refuses unshare", x64(272), [], EPERM],
    ["refuses keyctl", x64(250), ["CAP_SYS_ADMIN"], EPERM],
    ["refuses io_uring_setup", x64(425), ["CAP_SYS_ADMIN"], EPERM],
    ["refuses kexec_load", x64(246), ["CAP_SYS_BOOT"], EPERM],
    ["allows clone for a thread", x64(56, 0x3d0f00n), [], ALLOW],
    ["refuses clone with a new user namespace", x64(56, CLONE_NEWUSER | 17n), [], EPERM],
    ["allows clone with namespaces with CAP_SYS_ADMIN", x64(56, CLONE_NEWUSER), ["CAP_SYS_ADMIN"], ALLOW],
    ["answers ENOSYS to clone3, so that libc takes clone", x64(435), [], ENOSYS],
    ["allows clone3 with CAP_SYS_ADMIN", x64(435), ["CAP_SYS_ADMIN"], ALLOW],
    ["allows socket AF_INET", x64(41, 2n), [], ALLOW],
    ["allows socket AF_NETLINK", x64(41, 16n), [], ALLOW],
    ["refuses socket AF_ALG", x64(41, 38n), [], EPERM],
    ["allows socket AF_NFC", x64(41, 39n), [], ALLOW],
    ["refuses socket AF_VSOCK", x64(41, 40n), [], EPERM],
    ["allows socket AF_XDP", x64(41, 44n), [], ALLOW],
    ["allows personality PER_LINUX", x64(135, 0n), [], ALLOW],
    ["allows personality 0xffffffff, the query", x64(135, 0xffffffffn), [], ALLOW],
    ["refuses personality ADDR_NO_RANDOMIZE", x64(135, 0x40000n), [], EPERM],
    ["allows chroot with its capability only", x64(161), ["CAP_SYS_CHROOT"], ALLOW],
    ["refuses chroot without", x64(161), [], EPERM],
    ["allows ptrace on kernels that filter after it", x64(101), [], ALLOW],
    ["allows arch_prctl", x64(158), [], ALLOW],
    ["allows fchmodat2, which older libseccomp does not know", x64(452), [], ALLOW],
    ["allows mseal", x64(462), [], ALLOW],
    ["refuses lsm_set_self_attr", x64(460), [], EPERM],
    ["allows lsm_set_self_attr with CAP_SYS_ADMIN", x64(460), ["CAP_SYS_ADMIN"], ALLOW],
    ["answers ENOSYS to what is newer than itself", x64(500), [], ENOSYS],
    ["allows i386 read", { number: 3, architecture: AUDIT_ARCH_I386 }, [], ALLOW],
    ["refuses i386 mount", { number: 21, architecture: AUDIT_ARCH_I386 }, [], EPERM],
    ["answers ENOSYS to new i386 syscalls", { number: 500, architecture: AUDIT_ARCH_I386 }, [], ENOSYS],
    ["allows i386 fchmodat2", { number: 452, architecture: AUDIT_ARCH_I386 }, [], ALLOW],
    ["allows x32 read", x64(0x40000000), [], ALLOW],
    ["refuses x32 mount", x64(0x40000000 + 165), [], EPERM],
    ["allows x32 fchmodat2", x64(0x40000000 + 452), [], ALLOW],
    ["answers ENOSYS to new x32 syscalls", x64(0x40000000 + 1000), [], ENOSYS],
  ];
  for (const [what, syscall, capabilities, expected] of cases)
    test(what, () => assert.equal(runFilter(defaultFilter(...capabilities), syscall), expected));

  test("kills what comes from an architecture that it does not know", () => {
    const answer = runFilter(defaultFilter(), { number: 0, architecture: 0xc00000b7 });
    assert.equal(answer & 0x7fff0000, 0);
  });
});

describe("compileSeccomp()", { skip }, () => {
  const denyChmod: Seccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["chmod", "no_such_syscall"], action: "SCMP_ACT_ERRNO" }],
  };

  test("leaves out names that no kernel has", () => {
    const { program } = compileSeccomp(denyChmod);
    assert.equal(runFilter(program, x64(90)), EPERM);
    assert.equal(runFilter(program, x64(0)), ALLOW);
  });

  test("does not answer ENOSYS where the default is to allow", () => {
    assert.equal(runFilter(compileSeccomp(denyChmod).program, x64(500)), ALLOW);
  });

  test("takes errno values of the default and of rules", () => {
    const { program } = compileSeccomp({
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 13,
      syscalls: [{ names: ["read"], action: "SCMP_ACT_ERRNO", errnoRet: 5 }],
    });
    assert.equal(runFilter(program, x64(0)), 0x00050005);
    // write is 1, above read: newer than this profile, as far as the profile can tell.
    assert.equal(runFilter(program, x64(1)), ENOSYS);
  });

  test("joins tests of one argument by or, of several by and", () => {
    const { program } = compileSeccomp({
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [
        {
          names: ["socket"],
          action: "SCMP_ACT_ERRNO",
          args: [
            { index: 0, value: 2n, op: "SCMP_CMP_EQ" },
            { index: 0, value: 10n, op: "SCMP_CMP_EQ" },
          ],
        },
        {
          names: ["ioctl"],
          action: "SCMP_ACT_ERRNO",
          args: [
            { index: 0, value: 1n, op: "SCMP_CMP_EQ" },
            { index: 1, value: 7n, op: "SCMP_CMP_GE" },
          ],
        },
      ],
    });
    assert.deepEqual(
      [2n, 10n, 3n].map((family) => runFilter(program, x64(41, family))),
      [EPERM, EPERM, ALLOW],
    );
    assert.deepEqual(
      [
        [1n, 7n],
        [1n, 6n],
        [2n, 7n],
      ].map((args) => runFilter(program, x64(16, ...args))),
      [EPERM, ALLOW, ALLOW],
    );
  });

  test("compares all 64 bits of an argument", () => {
    const { program } = compileSeccomp({
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [
        {
          names: ["lseek"],
          action: "SCMP_ACT_ERRNO",
          args: [{ index: 1, value: 0xffff_ffff_0000_0001n, op: "SCMP_CMP_EQ" }],
        },
      ],
    });
    assert.equal(runFilter(program, x64(8, 0n, 0xffff_ffff_0000_0001n)), EPERM);
    assert.equal(runFilter(program, x64(8, 0n, 1n)), ALLOW);
  });

  // linux/seccomp.h SECCOMP_RET_*
  const actions: [SeccompRule["action"], errnoRet: number | undefined, value: number][] = [
    ["SCMP_ACT_KILL", undefined, 0x00000000],
    ["SCMP_ACT_KILL_THREAD", undefined, 0x00000000],
    ["SCMP_ACT_KILL_PROCESS", undefined, 0x80000000],
    ["SCMP_ACT_TRAP", undefined, 0x00030000],
    ["SCMP_ACT_ERRNO", undefined, 0x00050001],
    ["SCMP_ACT_ERRNO", 13, 0x0005000d],
    ["SCMP_ACT_ERRNO", 0, 0x00050000],
    ["SCMP_ACT_NOTIFY", undefined, 0x7fc00000],
    ["SCMP_ACT_TRACE", undefined, 0x7ff00001],
    ["SCMP_ACT_TRACE", 99, 0x7ff00063],
    ["SCMP_ACT_LOG", undefined, 0x7ffc0000],
  ];
  for (const [action, errnoRet, value] of actions)
    test(`answers ${action}${errnoRet === undefined ? "" : ` with ${errnoRet}`}`, () => {
      const { program, listener } = compileSeccomp({
        defaultAction: "SCMP_ACT_ALLOW",
        listenerPath: "/agent",
        syscalls: [{ names: ["read"], action, ...(errnoRet === undefined ? {} : { errnoRet }) }],
      });
      assert.equal(runFilter(program, x64(0)) >>> 0, value);
      assert.equal(listener, action === "SCMP_ACT_NOTIFY");
    });

  const operators: [SeccompArgument["op"], valueTwo: bigint, holds: bigint[], not: bigint[]][] = [
    ["SCMP_CMP_NE", 0n, [4n, 6n], [5n]],
    ["SCMP_CMP_LT", 0n, [0n, 4n], [5n, 6n]],
    ["SCMP_CMP_LE", 0n, [4n, 5n], [6n]],
    ["SCMP_CMP_EQ", 0n, [5n], [4n, 6n]],
    ["SCMP_CMP_GE", 0n, [5n, 6n], [4n]],
    ["SCMP_CMP_GT", 0n, [6n, 2n ** 63n], [5n]],
    // Of the bits of 5 only the lowest may be set.
    ["SCMP_CMP_MASKED_EQ", 1n, [1n, 3n], [4n, 5n]],
  ];
  for (const [op, valueTwo, holds, not] of operators)
    test(`tests arguments with ${op}`, () => {
      const { program } = compileSeccomp({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [
          { names: ["close"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value: 5n, valueTwo, op }] },
        ],
      });
      for (const value of holds) assert.equal(runFilter(program, x64(3, value)), EPERM, `${value}`);
      for (const value of not) assert.equal(runFilter(program, x64(3, value)), ALLOW, `${value}`);
    });

  // As runc has it: only who allows by default is left alone.
  test("answers ENOSYS to newer calls also where the default is to kill or to notify", () => {
    for (const defaultAction of ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_NOTIFY"] as const) {
      const { program } = compileSeccomp({
        defaultAction,
        listenerPath: "/agent",
        syscalls: [{ names: ["getpid", "execve"], action: "SCMP_ACT_ALLOW" }],
      });
      assert.equal(runFilter(program, x64(400)), ENOSYS);
    }
  });

  test("gives the same filter for the same object and for equal content", () => {
    assert.equal(compileSeccomp(denyChmod), compileSeccomp(denyChmod));
    assert.equal(compileSeccomp(structuredClone(denyChmod)), compileSeccomp(denyChmod));
  });

  test("sets the flags, and SPEC_ALLOW where none are given", () => {
    assert.equal(compileSeccomp(denyChmod).flags, 4);
    assert.equal(compileSeccomp({ ...denyChmod, flags: [] }).flags, 0);
    assert.equal(compileSeccomp({ ...denyChmod, flags: ["SECCOMP_FILTER_FLAG_LOG"] }).flags, 2);
  });

  const refused: [string, Partial<Seccomp>, RegExp][] = [
    ["an unknown flag", { flags: ["FLAG"] }, /^linux\.seccomp\.flags has "FLAG"/],
    [
      "an architecture of the other byte order",
      { architectures: ["SCMP_ARCH_S390X"] },
      /"s390x" has another/,
    ],
    ["an unknown architecture", { architectures: ["SCMP_ARCH_VAX"] }, /architecture "vax"/],
    [
      "the listener's flag without a rule that notifies",
      { flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] },
      /^linux\.seccomp\.flags has WAIT_KILLABLE_RECV/,
    ],
    ["a notifying rule without a listener", { defaultAction: "SCMP_ACT_NOTIFY" }, /listenerPath is missing/],
  ];
  for (const [what, changes, message] of refused)
    test(`refuses ${what}`, () => {
      assert.throws(() => compileSeccomp({ ...denyChmod, ...changes }), {
        code: "invalid-argument",
        message,
      });
    });
});
