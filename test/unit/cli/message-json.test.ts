import assert from "node:assert/strict";
import { test } from "node:test";
import { infoToJson, messageToJson } from "../../../src/cli/message-json.ts";
import { toInt64 } from "../../../cri-api/int64.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";

test("`messageToJson()` shows fields in their order, with defaults, names of enums and readable times", () => {
  const sent: v1.PodSandboxStatusSent = {
    labels: { z: "1", a: "2" },
    id: "x",
    state: 1,
    createdAt: toInt64(1_700_000_000_000_000_001n),
    linux: { namespaces: { options: { pid: 1, network: 2 } } },
  };
  const status = v1.PodSandboxStatus.decode(v1.PodSandboxStatus.encode(sent).finish());
  assert.equal(
    JSON.stringify(messageToJson(status, v1.PodSandboxState)),
    JSON.stringify({
      id: "x",
      state: "SANDBOX_NOTREADY",
      createdAt: "2023-11-14T22:13:20.000000001Z",
      linux: { namespaces: { options: { network: "NODE", pid: "CONTAINER", ipc: "POD", targetId: "" } } },
      labels: { z: "1", a: "2" },
      annotations: {},
      runtimeHandler: "",
    }),
  );
});

test("`messageToJson()` keeps integers exact and bytes as base64", () => {
  const value = v1.UInt64Value.decode(v1.UInt64Value.encode({ value: toInt64(2n ** 63n) }).finish());
  assert.deepEqual(messageToJson(value, {}), { value: "9223372036854775808" });
  const bytes = v1.KeyValue.decode(v1.KeyValue.encode({ key: "k", value: Buffer.from([255]) }).finish());
  assert.deepEqual(messageToJson(bytes, {}), { key: "k", value: "/w==" });
});

test("`infoToJson()` unfolds JSON and leaves other texts", () => {
  assert.deepEqual(infoToJson({ info: '{"pid":1}', other: "x" }), { info: { pid: 1 }, other: "x" });
});
