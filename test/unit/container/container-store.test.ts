import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { newId } from "../../../src/base/ids.ts";
import type { ContainerRecord } from "../../../src/container/container-record.ts";
import { ContainerStore } from "../../../src/container/container-store.ts";

// The store looks at no more of a record than this.
const record = (id: string): ContainerRecord =>
  ({ version: 1, id, committed: true, createdAtNs: 1n }) as ContainerRecord;

test("`update()` keeps a start and an end in memory when they cannot be written, and no other change", async () => {
  const root = mkdtempSync(join(tmpdir(), "cricket-containers-"));
  try {
    const store = new ContainerStore(root);
    const container = store.add(record(newId()));
    rmSync(store.records.directory(container.id), { recursive: true });
    assert.throws(() => store.update(container, { logPath: "/x" }), { code: "ENOENT" });
    assert.equal(container.record.logPath, undefined);
    // Else a container that runs would be listed as created for as long as the disk is full.
    assert.throws(() => store.update(container, { startedAtNs: 2n }), { code: "ENOENT" });
    assert.equal(container.state, "running");
    const end = { exitCode: 1, reason: "Error" as const, message: "", finishedAtNs: 3n };
    assert.throws(() => store.update(container, { end }), { code: "ENOENT" });
    assert.equal(container.state, "exited");
    await container.ended;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
