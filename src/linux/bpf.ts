// bpf(2), for what cgroup v2 has no files for: device access.
import koffi from "koffi";
import { close } from "./files.ts";
import { lastErrno, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

// The number is of the time before syscalls got the same one everywhere.
const SYS_bpf = process.arch === "arm64" ? 280 : 321;

const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_PROG_QUERY = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;

const sysBpf = libc.func("long syscall(long number, int command, void *attributes, unsigned int size)");

function bpf(command: number, attributes: Buffer, what: string): number {
  for (let attempt = 0; ; attempt++) {
    const result = Number(sysBpf(SYS_bpf, command, attributes, attributes.length));
    if (result !== -1) return result;
    const errno = lastErrno();
    // The verifier gives way to signals with EAGAIN.
    if ((errno !== "EAGAIN" && errno !== "EINTR") || attempt === 10)
      throw new SyscallError(`bpf ${what}`, errno);
  }
}

const addressOf = (bytes: Buffer): bigint => BigInt(koffi.address(bytes) as bigint | number);

/**
 * Makes `program` (struct bpf_insn[]) the only device filter attached to the cgroup. The new one is attached before
 * the old ones go, so that there is no moment without any: the kernel asks all of them. The cgroup keeps the program.
 */
export function replaceDeviceFilter(cgroupFd: number, program: Buffer): void {
  const old = attachedDeviceFilters(cgroupFd);
  const fd = loadDeviceFilter(program);
  try {
    const attributes = Buffer.alloc(24);
    attributes.writeUInt32LE(cgroupFd, 0);
    attributes.writeUInt32LE(fd, 4);
    attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
    attributes.writeUInt32LE(BPF_F_ALLOW_MULTI, 12);
    bpf(BPF_PROG_ATTACH, attributes, "attach cgroup device filter");
  } finally {
    close(fd);
  }
  for (const id of old) detachDeviceFilter(cgroupFd, id);
}

function loadDeviceFilter(program: Buffer): number {
  // bpf_prog_load refuses helpers to programs of another licence; this one calls none, the field must be there.
  const license = Buffer.from("Apache-2.0\0");
  const attributes = Buffer.alloc(72);
  attributes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
  attributes.writeUInt32LE(program.length / 8, 4);
  attributes.writeBigUInt64LE(addressOf(program), 8);
  attributes.writeBigUInt64LE(addressOf(license), 16);
  attributes.write("cricket_device", 48, "latin1");
  return bpf(BPF_PROG_LOAD, attributes, "load cgroup device filter");
}

/** Ids of the device filters attached to exactly this cgroup. */
export function attachedDeviceFilters(cgroupFd: number): number[] {
  const ids = Buffer.alloc(64 * 4);
  const attributes = Buffer.alloc(64);
  attributes.writeUInt32LE(cgroupFd, 0);
  attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 4);
  attributes.writeBigUInt64LE(addressOf(ids), 16);
  attributes.writeUInt32LE(ids.length / 4, 24);
  bpf(BPF_PROG_QUERY, attributes, "query cgroup device filters");
  const count = attributes.readUInt32LE(24);
  return Array.from({ length: count }, (_none, index) => ids.readUInt32LE(index * 4));
}

function detachDeviceFilter(cgroupFd: number, id: number): void {
  const byId = Buffer.alloc(12);
  byId.writeUInt32LE(id, 0);
  const fd = bpf(BPF_PROG_GET_FD_BY_ID, byId, "open cgroup device filter");
  try {
    const attributes = Buffer.alloc(24);
    attributes.writeUInt32LE(cgroupFd, 0);
    attributes.writeUInt32LE(fd, 4);
    attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
    bpf(BPF_PROG_DETACH, attributes, "detach cgroup device filter");
  } finally {
    close(fd);
  }
}
