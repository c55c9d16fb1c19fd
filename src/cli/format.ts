// Sizes, ages and times for people.

const byteUnits = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/** Decimal units and three digits: "0B", "999B", "1.23MB", "45.6MB", "789MB". */
export function formatBytes(bytes: bigint | number): string {
  let value = Number(bytes);
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? String(value) : threeDigits(value)}${byteUnits[unit] ?? ""}`;
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

const ageUnits: readonly (readonly [seconds: number, name: string])[] = [
  [86_400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** "5 minutes ago"; "" for 0, which stands for "never". */
export function formatAge(atNs: bigint, nowMs: number): string {
  if (atNs === 0n) return "";
  const seconds = Math.max(0, Math.floor(nowMs / 1000 - Number(atNs / 1_000_000n) / 1000));
  const [size, name] = ageUnits.find(([unit]) => seconds >= unit) ?? [1, "second"];
  const count = Math.floor(seconds / size);
  return `${count} ${name}${count === 1 ? "" : "s"} ago`;
}

/** RFC 3339 with nanoseconds, in UTC; "" for 0. */
export function formatTime(atNs: bigint): string {
  if (atNs === 0n) return "";
  const seconds = new Date(Number(atNs / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(atNs % 1_000_000_000n).padStart(9, "0")}Z`;
}

/** The hexadecimal digits of an id people use: 12 of them, without "sha256:". */
export function shortDigest(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, 12);
}
