// 64-bit integers between the wire and the rest of the program, which uses bigint: times in nanoseconds and byte
// counts pass 2^53, so a JavaScript number never stands for one.
import type { Int64 } from "./runtime/v1/api.js";

/** An int64 or uint64 field as a bigint; a field that was left out is 0. */
export function fromInt64(value: Int64 | null | undefined): bigint {
  if (value === null || value === undefined) return 0n;
  const bits = (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0);
  return value.unsigned ? bits : BigInt.asIntN(64, bits);
}

/** A bigint for an int64 or uint64 field; what does not fit in 64 bits is cut off as the wire would cut it. */
export function toInt64(value: bigint): Int64 {
  const bits = BigInt.asUintN(64, value);
  return {
    low: Number(bits & 0xffff_ffffn) | 0,
    high: Number(bits >> 32n) | 0,
    unsigned: value > 0x7fff_ffff_ffff_ffffn,
  };
}
