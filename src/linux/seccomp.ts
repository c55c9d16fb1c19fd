// seccomp filters: rules by syscall name -> BPF program, by libseccomp, which knows the syscall tables of all
// architectures. The library is loaded when the first profile is compiled: unconfined containers do without it.
import koffi, { type LibraryHandle } from "koffi";
import { closeSync, fstatSync, readSync } from "node:fs";
import { failedPrecondition, invalidArgument, SyscallError } from "../base/errors.ts";
import { check, errnoName, libc } from "./libc.ts";
import { encodePrologue, type ArchitectureBlock } from "./seccomp-prologue.ts";
import { newSyscalls } from "./seccomp-syscalls.ts";

/** linux/seccomp.h SECCOMP_RET_*; an errno or a trace value is or-ed into the low 16 bits. */
export const SECCOMP_RET_KILL_PROCESS = 0x80000000;
export const SECCOMP_RET_KILL_THREAD = 0x00000000;
export const SECCOMP_RET_TRAP = 0x00030000;
export const SECCOMP_RET_ERRNO = 0x00050000;
export const SECCOMP_RET_USER_NOTIF = 0x7fc00000;
export const SECCOMP_RET_TRACE = 0x7ff00000;
export const SECCOMP_RET_LOG = 0x7ffc0000;
export const SECCOMP_RET_ALLOW = 0x7fff0000;

/** enum scmp_compare of seccomp.h. */
export const compareOperators = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
} as const;

export interface ArgumentTest {
  index: number;
  operator: number;
  value: bigint;
  valueTwo: bigint;
}

export interface SyscallRule {
  names: readonly string[];
  action: number;
  /** All must hold; no two of the same index. */
  tests: readonly ArgumentTest[];
}

export interface FilterDescription {
  defaultAction: number;
  /** libseccomp's names: "x86_64". The native one is always in. */
  architectures: readonly string[];
  rules: readonly SyscallRule[];
  /** Syscalls newer than all that the rules name answer ENOSYS, so that programs fall back to older ones. */
  newerIsEnosys: boolean;
}

// seccomp.h: enum scmp_filter_attr.
const SCMP_FLTATR_CTL_OPTIMIZE = 8;
const OPTIMIZE_BINARY_TREE = 2;
const NR_SCMP_ERROR = -1;

interface Library {
  init: (defaultAction: number) => unknown;
  release: (context: unknown) => void;
  archAdd: (context: unknown, token: number) => number;
  archResolveName: (name: string) => number;
  archNative: () => number;
  attrSet: (context: unknown, attribute: number, value: number) => number;
  resolveName: (name: string) => number;
  resolveNameArch: (token: number, name: string) => number;
  ruleAdd: (context: unknown, action: number, syscall: number, count: number, tests: Buffer) => number;
  exportBpf: (context: unknown, fd: number) => number;
}

let library: Library | undefined;

function loadLibrary(): Library {
  library ??= declare(openLibrary());
  return library;
}

function openLibrary(): LibraryHandle {
  try {
    return koffi.load("libseccomp.so.2");
  } catch {
    throw failedPrecondition("seccomp profiles need libseccomp.so.2, which is not installed on this host");
  }
}

// Signatures of seccomp.h (libseccomp 2.5); scmp_filter_ctx is an opaque pointer.
function declare(handle: LibraryHandle): Library {
  return {
    init: handle.func("void *seccomp_init(uint32_t def_action)"),
    release: handle.func("void seccomp_release(void *ctx)"),
    archAdd: handle.func("int seccomp_arch_add(void *ctx, uint32_t arch_token)"),
    archResolveName: handle.func("uint32_t seccomp_arch_resolve_name(const char *arch_name)"),
    archNative: handle.func("uint32_t seccomp_arch_native()"),
    attrSet: handle.func("int seccomp_attr_set(void *ctx, int attr, uint32_t value)"),
    resolveName: handle.func("int seccomp_syscall_resolve_name(const char *name)"),
    resolveNameArch: handle.func(
      "int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name)",
    ),
    ruleAdd: handle.func(
      "int seccomp_rule_add_array(void *ctx, uint32_t action, int syscall, unsigned int arg_cnt, const void *arg_array)",
    ),
    exportBpf: handle.func("int seccomp_export_bpf(void *ctx, int fd)"),
  };
}

/** True where profiles can be compiled. */
export function hasLibseccomp(): boolean {
  try {
    loadLibrary();
    return true;
  } catch {
    return false;
  }
}

/**
 * Compiles a filter: `struct sock_filter` entries one after the other. Names of syscalls that no architecture of the
 * filter has are left out, as every runtime does: profiles name syscalls of many kernels.
 * @throws CricketError failed-precondition without libseccomp, invalid-argument for an unknown architecture
 */
export function buildFilter(description: FilterDescription): Uint8Array {
  const lib = loadLibrary();
  const context = lib.init(description.defaultAction);
  if (context === null)
    throw invalidArgument(`seccomp default action ${description.defaultAction} is unknown`);
  try {
    const tokens = addArchitectures(lib, context, description.architectures);
    // A search tree instead of a list: a filter of 300 syscalls is some ten steps deep. Older libraries refuse.
    lib.attrSet(context, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_BINARY_TREE);
    for (const rule of description.rules) addRule(lib, context, rule, description.defaultAction);
    const prologue = encodePrologue(prologueBlocks(lib, tokens, description));
    return Buffer.concat([prologue, exportProgram(lib, context)]);
  } finally {
    lib.release(context);
  }
}

function addArchitectures(lib: Library, context: unknown, names: readonly string[]): number[] {
  const tokens = new Set([lib.archNative()]);
  for (const name of names) {
    const token = lib.archResolveName(name);
    if (token === 0) throw invalidArgument(`seccomp architecture ${JSON.stringify(name)} is unknown`);
    if (tokens.has(token)) continue;
    // EDOM: filters hold one byte order.
    if (lib.archAdd(context, token) !== 0)
      throw invalidArgument(
        `seccomp architecture ${JSON.stringify(name)} has another byte order than this machine`,
      );
    tokens.add(token);
  }
  return [...tokens];
}

function addRule(lib: Library, context: unknown, rule: SyscallRule, defaultAction: number): void {
  // libseccomp refuses a rule that changes nothing.
  if (rule.action === defaultAction) return;
  const tests = encodeTests(rule.tests);
  for (const name of rule.names) {
    const number = lib.resolveName(name);
    if (number === NR_SCMP_ERROR) continue;
    const result = lib.ruleAdd(context, rule.action, number, rule.tests.length, tests);
    if (result < 0)
      throw invalidArgument(`seccomp rule for ${name}: ${errnoName(-result)} from seccomp_rule_add_array`);
  }
}

// struct scmp_arg_cmp: unsigned arg; enum op; uint64 datum_a; uint64 datum_b.
function encodeTests(tests: readonly ArgumentTest[]): Buffer {
  const bytes = Buffer.alloc(Math.max(1, tests.length) * 24);
  for (const [position, { index, operator, value, valueTwo }] of tests.entries()) {
    const at = position * 24;
    bytes.writeUInt32LE(index, at);
    bytes.writeUInt32LE(operator, at + 4);
    bytes.writeBigUInt64LE(value, at + 8);
    bytes.writeBigUInt64LE(valueTwo, at + 16);
  }
  return bytes;
}

const cMemfdCreate = libc.func("int memfd_create(const char *name, unsigned int flags)");
const MFD_CLOEXEC = 1;

function exportProgram(lib: Library, context: unknown): Buffer {
  const fd = check(cMemfdCreate("seccomp", MFD_CLOEXEC) as number, "memfd_create");
  try {
    const result = lib.exportBpf(context, fd);
    if (result < 0) throw new SyscallError("seccomp_export_bpf", errnoName(-result));
    const program = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

/** What is decided before libseccomp's part: syscalls younger than the library, and those younger than the profile. */
function prologueBlocks(
  lib: Library,
  tokens: readonly number[],
  description: FilterDescription,
): ArchitectureBlock[] {
  const names = new Set(description.rules.flatMap((rule) => rule.names));
  const young = [...names].filter((name) => lib.resolveName(name) === NR_SCMP_ERROR && newSyscalls.has(name));
  const actions = new Map(young.map((name) => [newSyscalls.get(name) ?? 0, actionOf(description, name)]));
  return tokens.map((token) => {
    let highest = Math.max(0, ...actions.keys());
    for (const name of names) highest = Math.max(highest, plainNumber(lib.resolveNameArch(token, name)));
    return {
      token: token >>> 0,
      isX32: token === lib.archResolveName("x32"),
      actions,
      ...(description.newerIsEnosys ? { highest } : {}),
    };
  });
}

// x32 numbers have bit 30 set; pseudo numbers of syscalls that an architecture lacks are negative.
function plainNumber(number: number): number {
  return number < 0 ? 0 : number & 0x3fffffff;
}

// Argument tests cannot be taken over into the prologue: such a rule counts as not there.
function actionOf(description: FilterDescription, name: string): number {
  const rule = description.rules.find(({ names, tests }) => tests.length === 0 && names.includes(name));
  return rule?.action ?? description.defaultAction;
}
