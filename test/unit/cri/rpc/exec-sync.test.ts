import assert from "node:assert/strict";
import { test } from "node:test";
import { v1 } from "../../../../cri-api/runtime/v1/api.js";
import { execSync } from "../../../../src/cri/rpc/exec-sync.ts";
import type { ContainerUseCases } from "../../../../src/cri/services.ts";

const mebibyte = 1024 * 1024;
/** What the kubelet and crictl take in one message. */
const clientLimit = 16 * mebibyte;

async function answer(
  stdoutBytes: number,
  stderrBytes: number,
): Promise<v1.ExecSyncResponse & { bytes: number }> {
  const result = {
    stdout: new Uint8Array(stdoutBytes),
    stderr: new Uint8Array(stderrBytes),
    exitCode: -2_147_483_648,
  };
  const containers = { execSync: () => Promise.resolve(result) } as Partial<ContainerUseCases>;
  const request = v1.ExecSyncRequest.decode(
    v1.ExecSyncRequest.encode({ containerId: "c", cmd: ["a"] }).finish(),
  );
  const sent = await execSync(containers as ContainerUseCases, request, {
    signal: new AbortController().signal,
  });
  const bytes = v1.ExecSyncResponse.encode(sent).finish();
  return Object.assign(v1.ExecSyncResponse.decode(bytes), { bytes: bytes.length });
}

test("`execSync()` gives an answer that clients take, whatever the command has written", async () => {
  for (const [out, err] of [
    [16 * mebibyte, 0],
    [0, 16 * mebibyte],
    [16 * mebibyte, 16 * mebibyte],
    [16 * mebibyte, 10],
  ] as const) {
    const { stdout, stderr, exitCode, bytes } = await answer(out, err);
    assert.ok(bytes <= clientLimit, `${bytes}`);
    assert.ok(bytes > clientLimit - 100, `${bytes}`);
    assert.ok(stdout.length <= out && stderr.length <= err);
    assert.equal(exitCode, -2_147_483_648);
  }
});

test("`execSync()` cuts the longer stream first", async () => {
  assert.equal((await answer(16 * mebibyte, 10)).stderr.length, 10);
  assert.equal((await answer(10, 16 * mebibyte)).stdout.length, 10);
  const both = await answer(9 * mebibyte, 16 * mebibyte);
  assert.ok(both.stdout.length > 7 * mebibyte && both.stderr.length > 7 * mebibyte);
});
