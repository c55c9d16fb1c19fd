// Numbers and spans of time on the command line.
import { UsageError } from "./command.ts";

/** A whole number of seconds. @throws UsageError naming the option */
export function wholeSeconds(text: string, option: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new UsageError(`${option} ${JSON.stringify(text)} is not a number of seconds`);
  return Number(text);
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "90s", "5m", "1h30m"; a bare number means seconds. In milliseconds. @throws UsageError naming the option */
export function durationMs(text: string, option: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ms|[smhd]))+$/.test(text))
    throw new UsageError(`${option} ${JSON.stringify(text)} is not a duration such as 90s or 1h30m`);
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g))
    total += Number(number) * (unitMs[unit ?? ""] ?? 0);
  return total;
}

/** A time of day, RFC 3339, or a duration before `nowMs`; in nanoseconds since 1970. @throws UsageError */
export function pointInTimeNs(text: string, nowMs: number, option: string): bigint {
  if (/^\d{4}-/.test(text)) {
    const ms = Date.parse(text);
    if (Number.isNaN(ms)) throw new UsageError(`${option} ${JSON.stringify(text)} is not a time (RFC 3339)`);
    return BigInt(ms) * 1_000_000n;
  }
  return BigInt(Math.round(nowMs - durationMs(text, option))) * 1_000_000n;
}
