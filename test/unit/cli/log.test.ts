// Reading container logs: records, rotation, tails, printing.
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { followLog } from "../../../src/cli/follow-log.ts";
import { LogPrinter } from "../../../src/cli/log-printer.ts";
import { LineSplitter, parseLogRecord, recordTimeNs, type LogRecord } from "../../../src/cli/log-record.ts";
import { tailStart } from "../../../src/cli/tail-log.ts";

const directory = mkdtempSync(join(tmpdir(), "cricket-log-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const time = "2026-11-22T02:30:00.123456789Z";
const line = (text: string, tag = "F", stream = "stdout"): string => `${time} ${stream} ${tag} ${text}\n`;
const textOf = ({ content }: LogRecord): string => content.toString();

let files = 0;
const newPath = (): string => join(directory, `${++files}.log`);

test("`parseLogRecord()` reads time, stream, tag and any bytes of content", () => {
  const record = parseLogRecord(
    Buffer.concat([Buffer.from(`${time} stderr P `), Buffer.from([0xff, 0x20, 0])]),
  );
  assert.deepEqual(record, { time, stream: "stderr", partial: true, content: Buffer.from([0xff, 0x20, 0]) });
  assert.equal(parseLogRecord(Buffer.from(`${time} stdout F `))?.content.length, 0);
  assert.equal(parseLogRecord(Buffer.from(`${time} stdout F`))?.content.length, 0);
  assert.equal(parseLogRecord(Buffer.from(`${time} stdout F:x y`))?.content.toString(), "y");
});

test("`parseLogRecord()` gives nothing for other lines, and never fails", () => {
  for (const text of ["", " ", "x", `${time} stdin F x`, `${time} stdout X x`, `${time} stdout`])
    assert.equal(parseLogRecord(Buffer.from(text)), undefined, text);
  fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseLogRecord(Buffer.from(bytes))));
});

test("`recordTimeNs()` keeps nanoseconds and honours the offset", () => {
  const at = (text: string): bigint =>
    recordTimeNs({ time: text, stream: "stdout", partial: false, content: Buffer.alloc(0) });
  assert.equal(at("1970-01-01T00:00:01.000000002Z"), 1_000_000_002n);
  assert.equal(at("1970-01-01T01:00:01+01:00"), 1_000_000_000n);
  assert.equal(at("nonsense"), 0n);
});

test("`LineSplitter` yields the same lines however the bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z]*$/)),
      fc.array(fc.integer({ min: 1, max: 5 })),
      (lines, cuts) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(""));
        const splitter = new LineSplitter();
        const found: string[] = [];
        for (let at = 0, cut = 0; at < bytes.length; cut++) {
          const size = cuts[cut % Math.max(1, cuts.length)] ?? 1;
          for (const entry of splitter.push(bytes.subarray(at, at + size))) found.push(entry.toString());
          at += size;
        }
        assert.deepEqual(found, lines);
      },
    ),
  );
});

/** Follows a log and resolves with `count` records at a time. */
function follow(
  path: string,
  start = 0,
): { next: (count: number) => Promise<string[]>; end: () => Promise<string[]> } {
  const ended = new AbortController();
  const records = followLog(path, { start, ended: ended.signal });
  const next = async (count: number): Promise<string[]> => {
    const seen: string[] = [];
    while (seen.length < count) {
      const { value, done } = await records.next();
      if (done === true) break;
      seen.push(textOf(value));
    }
    return seen;
  };
  return {
    next,
    end: () => {
      ended.abort();
      return next(Infinity);
    },
  };
}

test("`followLog()` waits for the file, and yields whole lines as they come", async () => {
  const path = newPath();
  const log = follow(path);
  const first = log.next(1);
  writeFileSync(path, `${time} stdout F one`);
  appendFileSync(path, `!\n${line("two")}`);
  assert.deepEqual(await first, ["one!"]);
  assert.deepEqual(await log.next(1), ["two"]);
  assert.deepEqual(await log.end(), []);
});

test("`followLog()` reads the renamed file to its end before the new one", async () => {
  const path = newPath();
  writeFileSync(path, line("one"));
  const log = follow(path);
  assert.deepEqual(await log.next(1), ["one"]);
  appendFileSync(path, line("two"));
  renameSync(path, `${path}.1`);
  appendFileSync(`${path}.1`, line("three"));
  writeFileSync(path, line("four"));
  assert.deepEqual(await log.next(3), ["two", "three", "four"]);
  appendFileSync(path, line("five"));
  assert.deepEqual(await log.end(), ["five"]);
});

test("`followLog()` begins again when the file was truncated in place", async () => {
  const path = newPath();
  writeFileSync(path, line("one") + line("two"));
  const log = follow(path);
  assert.deepEqual(await log.next(2), ["one", "two"]);
  truncateSync(path, 0);
  const next = log.next(1);
  appendFileSync(path, line("three"));
  assert.deepEqual(await next, ["three"]);
  assert.deepEqual(await log.end(), []);
});

test("`followLog()` yields what is there and ends when the log has ended already", async () => {
  const path = newPath();
  writeFileSync(path, line("one") + "garbage\n" + line("two") + "unfinished");
  assert.deepEqual(await follow(path).end(), ["one", "two"]);
  assert.deepEqual(await follow(newPath()).end(), []);
});

test("`tailStart()` finds the last lines, counting partial records as one line", async () => {
  const path = newPath();
  writeFileSync(path, line("a") + line("b1", "P") + line("b2") + line("c"));
  const tail = async (lines: number): Promise<string[]> => follow(path, await tailStart(path, lines)).end();
  assert.deepEqual(await tail(0), []);
  assert.deepEqual(await tail(1), ["c"]);
  assert.deepEqual(await tail(2), ["b1", "b2", "c"]);
  assert.deepEqual(await tail(3), ["a", "b1", "b2", "c"]);
  assert.deepEqual(await tail(99), ["a", "b1", "b2", "c"]);
});

test("`tailStart()` reads back over several blocks", async () => {
  const path = newPath();
  const lines = Array.from({ length: 5000 }, (_unused, index) => line(`${index} ${"x".repeat(100)}`));
  writeFileSync(path, lines.join(""));
  const seen = await follow(path, await tailStart(path, 3000)).end();
  assert.equal(seen.length, 3000);
  assert.match(seen[0] ?? "", /^2000 /);
});

function print(records: string, options: { timestamps?: boolean; sinceNs?: bigint } = {}): [string, string] {
  let [stdout, stderr] = ["", ""];
  const printer = new LogPrinter(
    { timestamps: options.timestamps ?? false, sinceNs: options.sinceNs ?? 0n },
    {
      stdout: (data) => (stdout += Buffer.from(data).toString()),
      stderr: (data) => (stderr += Buffer.from(data).toString()),
    },
  );
  for (const entry of new LineSplitter().push(Buffer.from(records))) {
    const record = parseLogRecord(entry);
    if (record !== undefined) printer.print(record);
  }
  return [stdout, stderr];
}

test("`LogPrinter` joins partial records and keeps the streams apart", () => {
  const records = line("ab", "P") + line("E", "F", "stderr") + line("cd") + line("");
  assert.deepEqual(print(records), ["abcd\n\n", "E\n"]);
});

test("`LogPrinter` shows the time once a line, and leaves out what is older", () => {
  const records = line("ab", "P") + line("cd");
  assert.deepEqual(print(records, { timestamps: true }), [`${time} abcd\n`, ""]);
  const old = `2020-01-01T00:00:00Z stdout F old\n`;
  assert.deepEqual(print(old + records, { sinceNs: 1_700_000_000_000_000_000n }), ["abcd\n", ""]);
});
