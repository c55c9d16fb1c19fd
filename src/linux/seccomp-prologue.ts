// The few BPF instructions in front of libseccomp's program, one block per architecture:
//
//   syscalls that the installed libseccomp is too old to know  -> their action from the profile
//   numbers above all that the profile names                   -> ENOSYS
//
// Without the second a program built for a newer libc sees EPERM for a syscall the profile's author had not heard of,
// and does not fall back to the older one.

export interface ArchitectureBlock {
  /** AUDIT_ARCH_* of linux/audit.h; x32 has that of x86-64, so it is given as libseccomp's own token. */
  token: number;
  isX32: boolean;
  /** Actions by syscall number; the numbers of young syscalls are the same everywhere. */
  actions: ReadonlyMap<number, number>;
  /** Not given: nothing is answered with ENOSYS here. */
  highest?: number;
}

// linux/bpf_common.h, linux/filter.h
const LOAD_WORD = 0x20;
const JUMP = 0x05;
const JUMP_IF_EQUAL = 0x15;
const JUMP_IF_GREATER = 0x25;
const JUMP_IF_GREATER_OR_EQUAL = 0x35;
const RETURN = 0x06;

// struct seccomp_data: int nr; __u32 arch; ...
const NUMBER_OFFSET = 0;
const ARCH_OFFSET = 4;

const AUDIT_ARCH_X86_64 = 0xc000003e;
const X32_SYSCALL_BIT = 0x40000000;
const ERRNO_ENOSYS = 0x00050000 | 38;

interface Instruction {
  code: number;
  /** Instructions to skip when the test holds, and when it does not. */
  onTrue: number;
  onFalse: number;
  value: number;
}

const instruction = (code: number, value: number, onTrue = 0, onFalse = 0): Instruction => ({
  code,
  onTrue,
  onFalse,
  value,
});

/** `struct sock_filter` entries that fall through to what follows; none where there is nothing to decide. */
export function encodePrologue(blocks: readonly ArchitectureBlock[]): Buffer {
  const useful = blocks.filter(({ actions, highest }) => actions.size > 0 || highest !== undefined);
  const parts = useful.map(encodeBlock);
  // Each block ends in a jump over all that follow it.
  let after = 0;
  const placed: Instruction[] = [];
  for (const part of parts.toReversed()) {
    placed.unshift(...part, instruction(JUMP, after));
    after += part.length + 1;
  }
  return encode(placed);
}

function encodeBlock({ token, isX32, actions, highest }: ArchitectureBlock): Instruction[] {
  const offset = isX32 ? X32_SYSCALL_BIT : 0;
  const decisions: Instruction[] = [instruction(LOAD_WORD, NUMBER_OFFSET)];
  for (const [number, action] of actions)
    decisions.push(instruction(JUMP_IF_EQUAL, offset + number, 0, 1), instruction(RETURN, action));
  if (highest !== undefined)
    decisions.push(instruction(JUMP_IF_GREATER, offset + highest, 0, 1), instruction(RETURN, ERRNO_ENOSYS));
  const body = [...abiGuard(isX32, token, decisions.length), ...decisions];
  const architecture = isX32 ? AUDIT_ARCH_X86_64 : token;
  // What is skipped includes the jump that ends the block: the next block's test comes next.
  return [
    instruction(LOAD_WORD, ARCH_OFFSET),
    instruction(JUMP_IF_EQUAL, architecture, 0, body.length + 1),
    ...body,
  ];
}

// x86-64 and x32 have one architecture number: a bit of the syscall number tells them apart.
function abiGuard(isX32: boolean, token: number, decisions: number): Instruction[] {
  if (!isX32 && token !== AUDIT_ARCH_X86_64) return [];
  const toNextBlock = decisions + 1;
  return [
    instruction(LOAD_WORD, NUMBER_OFFSET),
    isX32
      ? instruction(JUMP_IF_GREATER_OR_EQUAL, X32_SYSCALL_BIT, 0, toNextBlock)
      : instruction(JUMP_IF_GREATER_OR_EQUAL, X32_SYSCALL_BIT, toNextBlock, 0),
  ];
}

function encode(instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(instructions.length * 8);
  for (const [index, { code, onTrue, onFalse, value }] of instructions.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    // writeUInt8 throws beyond 255, the longest conditional jump there is.
    bytes.writeUInt8(onTrue, index * 8 + 2);
    bytes.writeUInt8(onFalse, index * 8 + 3);
    bytes.writeUInt32LE(value >>> 0, index * 8 + 4);
  }
  return bytes;
}
