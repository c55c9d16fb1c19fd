// The device policy as an eBPF program for cgroup v2 (BPF_PROG_TYPE_CGROUP_DEVICE). Returns 1 to allow, 0 to refuse.
import type { DeviceException, DevicePolicy } from "./device-rules.ts";

// linux/bpf.h, linux/bpf_common.h
const BPF_LDX_MEM_W = 0x61;
const BPF_MOV32_REG = 0xbc;
const BPF_MOV64_IMM = 0xb7;
const BPF_AND32_IMM = 0x54;
const BPF_RSH32_IMM = 0x74;
const BPF_JEQ32_IMM = 0x16;
const BPF_JNE32_IMM = 0x56;
const BPF_JNE32_REG = 0x5e;
const BPF_EXIT = 0x95;
const BPF_DEVCG_DEV_BLOCK = 1;
const BPF_DEVCG_DEV_CHAR = 2;

interface Instruction {
  code: number;
  to?: number;
  from?: number;
  /** In instructions, from the next one. */
  jump?: number;
  value?: number;
}

// struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }: access in the upper half, type in the lower.
const [result, context, type, access, major, minor] = [0, 1, 2, 3, 4, 5] as const;

/** Encodes the policy; eight bytes an instruction. */
export function encodeDeviceFilter(policy: DevicePolicy): Buffer {
  const instructions: Instruction[] = [
    { code: BPF_LDX_MEM_W, to: type, from: context, jump: 0 },
    { code: BPF_MOV32_REG, to: access, from: type },
    { code: BPF_AND32_IMM, to: type, value: 0xffff },
    { code: BPF_RSH32_IMM, to: access, value: 16 },
    { code: BPF_LDX_MEM_W, to: major, from: context, jump: 4 },
    { code: BPF_LDX_MEM_W, to: minor, from: context, jump: 8 },
  ];
  for (const exception of policy.exceptions)
    instructions.push(...encodeException(exception, policy.allowByDefault));
  instructions.push(...answer(policy.allowByDefault));
  return Buffer.concat(instructions.map(encode));
}

function encodeException(exception: DeviceException, allowByDefault: boolean): Instruction[] {
  const body: Instruction[] = [
    {
      code: BPF_JNE32_IMM,
      to: type,
      value: exception.type === "b" ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR,
    },
    ...accessTest(exception.access, allowByDefault),
  ];
  if (exception.major !== -1) body.push({ code: BPF_JNE32_IMM, to: major, value: exception.major });
  if (exception.minor !== -1) body.push({ code: BPF_JNE32_IMM, to: minor, value: exception.minor });
  body.push(...answer(!allowByDefault));
  // Every test that fails goes on behind this exception.
  return body.map((instruction, index) =>
    isTest(instruction) ? { ...instruction, jump: body.length - index - 1 } : instruction,
  );
}

/**
 * An exception that allows must cover all that is asked; one that refuses applies as soon as any of it is asked, or
 * open(O_RDWR) would pass a rule against writing.
 */
function accessTest(bits: number, allowByDefault: boolean): Instruction[] {
  const masked: Instruction[] = [
    { code: BPF_MOV32_REG, to: context, from: access },
    { code: BPF_AND32_IMM, to: context, value: bits },
  ];
  const test: Instruction = allowByDefault
    ? { code: BPF_JEQ32_IMM, to: context, value: 0 }
    : { code: BPF_JNE32_REG, to: context, from: access };
  return [...masked, test];
}

const isTest = ({ code }: Instruction): boolean =>
  code === BPF_JNE32_IMM || code === BPF_JNE32_REG || code === BPF_JEQ32_IMM;

const answer = (allow: boolean): Instruction[] => [
  { code: BPF_MOV64_IMM, to: result, value: allow ? 1 : 0 },
  { code: BPF_EXIT },
];

// struct bpf_insn; the two registers share a byte, the lower half first on little-endian machines.
function encode({ code, to = 0, from = 0, jump = 0, value = 0 }: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(code, 0);
  bytes.writeUInt8((from << 4) | to, 1);
  bytes.writeInt16LE(jump, 2);
  bytes.writeInt32LE(value | 0, 4);
  return bytes;
}
