import assert from "node:assert/strict";
import { test } from "node:test";
import { annotatedProperties, scopePathOf } from "../../../../src/oci/runtime/systemd-cgroups.ts";

test("`scopePathOf()` reads slice:prefix:name", () => {
  assert.equal(scopePathOf("id", undefined, ""), "/system.slice/cricket-id.scope");
  assert.equal(scopePathOf("id", "", ""), "/system.slice/cricket-id.scope");
  assert.equal(scopePathOf("id", "machine.slice:libpod:abc", ""), "/machine.slice/libpod-abc.scope");
  assert.equal(
    scopePathOf("id", "a-b.slice:cri-containerd:x", "/docker/1"),
    "/docker/1/a.slice/a-b.slice/cri-containerd-x.scope",
  );
  assert.equal(scopePathOf("id", "-.slice:p:n", ""), "/p-n.scope");
  assert.equal(scopePathOf("id", ":p:n", ""), "/system.slice/p-n.scope");
  assert.equal(scopePathOf("id", "a.slice::n", ""), "/a.slice/n.scope");
});

test("`scopePathOf()` refuses other forms and names that lead elsewhere", () => {
  for (const path of ["/a/b", "a", "a.slice:p", "a.slice:p:n:m", "a.slice:p:", "../x.slice:p:n", "a:p:n"])
    assert.throws(() => scopePathOf("id", path, ""), { code: "invalid-argument" }, path);
});

test("annotations set a few properties and nothing else (CVE-2024-3154)", () => {
  assert.deepEqual(
    annotatedProperties({
      "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
      "org.systemd.property.RuntimeMaxSec": "3",
      "org.systemd.property.KillSignal": "15",
      "org.systemd.property.CollectMode": "'inactive'",
      "org.systemd.property.SendSIGHUP": "true",
      "io.example.other": "x",
    }),
    [
      ["TimeoutStopUSec", { signature: "t", value: 5_000_000n }],
      ["RuntimeMaxUSec", { signature: "t", value: 3_000_000n }],
      ["KillSignal", { signature: "i", value: 15 }],
      ["CollectMode", { signature: "s", value: "inactive" }],
      ["SendSIGHUP", { signature: "b", value: true }],
    ],
  );
  for (const name of [
    "ExecStartPre",
    "ExecStart",
    "DeviceAllow",
    "DevicePolicy",
    "MemoryMax",
    "Slice",
    "PIDs",
    "User",
    "__proto__",
    "toString",
    "",
  ])
    assert.throws(
      () => annotatedProperties({ [`org.systemd.property.${name}`]: "x" }),
      { code: "invalid-argument", message: /org\.systemd\.property\..*only/ },
      name,
    );
  for (const [name, value] of [
    ["TimeoutStopUSec", "-1"],
    ["TimeoutStopUSec", "99999999999999999999"],
    ["RuntimeMaxSec", "18446744073709551615"],
    ["KillSignal", "0"],
    ["KillSignal", "65"],
    ["KillSignal", "SIGTERM"],
    ["CollectMode", "never"],
    ["SendSIGHUP", "1"],
    ["Description", "a\nb"],
  ] as const)
    assert.throws(() => annotatedProperties({ [`org.systemd.property.${name}`]: value }), {
      code: "invalid-argument",
      message: /is not a value/,
    });
});
