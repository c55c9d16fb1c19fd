import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GroupCommit } from "../../../src/snapshot/group-commit.ts";

describe("GroupCommit", () => {
  test("shares the run that begins after the call, never one under way", async () => {
    const ends: (() => void)[] = [];
    const group = new GroupCommit(() => new Promise((resolve) => ends.push(resolve)));
    const done: string[] = [];
    const first = group.run().then(() => done.push("first"));
    const later = [group.run(), group.run(), group.run()].map((run) => run.then(() => done.push("later")));
    assert.equal(ends.length, 1);
    ends[0]?.();
    await first;
    assert.deepEqual(done, ["first"]);
    await new Promise(setImmediate);
    assert.equal(ends.length, 2);
    ends[1]?.();
    await Promise.all(later);
    assert.deepEqual([done, ends.length], [["first", "later", "later", "later"], 2]);
  });

  test("gives an error to those who shared the run, and goes on", async () => {
    let runs = 0;
    const group = new GroupCommit(async () => {
      runs++;
      await new Promise(setImmediate);
      if (runs === 1) throw new Error("ENOSPC");
    });
    const first = group.run();
    const second = group.run();
    await assert.rejects(first, /ENOSPC/);
    await second;
    await group.run();
    assert.equal(runs, 3);
  });
});
