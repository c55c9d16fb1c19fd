import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import test from "node:test";
import { countOpenFiles, openFilesLimit } from "../../../src/linux/process-resources.ts";

const gone = 2 ** 22 + 1;
// The directory's own descriptor is in its list.
const ownDescriptors = (): number => readdirSync("/proc/self/fd").length;

test("`countOpenFiles()` counts descriptors and sockets, and nothing of a process that is gone", async () => {
  const before = await countOpenFiles([process.pid]);
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const after = await countOpenFiles([process.pid, gone]);
  server.close();
  assert.equal(after.sockets, before.sockets + 1);
  assert.equal(after.fileDescriptors, before.fileDescriptors + 1);
  assert.deepEqual(await countOpenFiles([gone]), { fileDescriptors: 0, sockets: 0 });
});

test("`countOpenFiles()` counts large tables as well", async () => {
  const opened = Array.from({ length: 600 }, () => openSync("/dev/null", "r"));
  try {
    const { fileDescriptors } = await countOpenFiles([process.pid]);
    // Those of the event loop's threads may come and go.
    assert.ok(Math.abs(fileDescriptors - ownDescriptors()) <= 4, `${fileDescriptors}`);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
});

test("`openFilesLimit()` is the soft limit, or undefined for a process that is gone", () => {
  assert.ok((openFilesLimit(process.pid) ?? 1n) > 0n);
  assert.equal(openFilesLimit(gone), undefined);
});
