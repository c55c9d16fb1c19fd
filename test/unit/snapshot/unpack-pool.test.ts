import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";

const checkout = path.resolve(import.meta.dirname, "../../..");

/** In a process of its own, as the size of the young generation is the process's. */
const script = `
import { getHeapSpaceStatistics } from "node:v8";
import { keepYoungHeapSmall } from "./src/linux/young-heap.ts";
import { UnpackPool } from "./src/snapshot/unpack-pool.ts";

const youngBytes = () => getHeapSpaceStatistics().find((space) => space.space_name === "new_space").space_size;

function grow() {
  let kept = [];
  for (let i = 0; i < 1_000_000; i++) {
    kept.push({ i });
    if (kept.length > 200_000) kept = kept.slice(100_000);
  }
  return kept.length;
}

async function* nothing() {}

keepYoungHeapSmall();
const pool = new UnpackPool();
await pool.unpack(nothing(), { directory: "/nonexistent" }).catch(() => {});
const before = youngBytes();
grow();
console.log(JSON.stringify({ before, after: youngBytes() }));
await pool.close();
`;

test("`UnpackPool` leaves the young heap of the process as small as it was kept", () => {
  const output = execFileSync(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "--eval", script],
    { cwd: checkout, encoding: "utf8" },
  );
  const { before, after } = JSON.parse(output) as { before: number; after: number };
  assert.ok(after <= before, `grew from ${before} to ${after} bytes`);
});
