// Runs a seccomp filter as the kernel would, on one syscall: tests can ask what a profile answers without root.

export interface SyscallData {
  number: number;
  /** AUDIT_ARCH_* */
  architecture: number;
  args?: bigint[];
}

export const AUDIT_ARCH_X86_64 = 0xc000003e;
export const AUDIT_ARCH_I386 = 0x40000003;

function toBytes({ number, architecture, args = [] }: SyscallData): Buffer {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(architecture, 4);
  for (const [index, value] of args.entries())
    data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + 8 * index);
  return data;
}

/** The value the filter returns: SECCOMP_RET_* with its data. */
export function runFilter(program: Uint8Array, syscall: SyscallData): number {
  const code = Buffer.from(program);
  const data = toBytes(syscall);
  let accumulator = 0;
  for (let at = 0; at < code.length / 8; at++) {
    const op = code.readUInt16LE(at * 8);
    const [then, otherwise] = [code.readUInt8(at * 8 + 2), code.readUInt8(at * 8 + 3)];
    const value = code.readUInt32LE(at * 8 + 4);
    const jump = (holds: boolean): void => {
      at += holds ? then : otherwise;
    };
    if (op === 0x20) accumulator = data.readUInt32LE(value);
    else if (op === 0x54) accumulator = (accumulator & value) >>> 0;
    else if (op === 0x05) at += value;
    else if (op === 0x15) jump(accumulator === value);
    else if (op === 0x25) jump(accumulator > value);
    else if (op === 0x35) jump(accumulator >= value);
    else if (op === 0x45) jump((accumulator & value) !== 0);
    else if (op === 0x06) return value;
    else throw new Error(`instruction 0x${op.toString(16)} at ${at}`);
  }
  throw new Error("the filter ended without an answer");
}
