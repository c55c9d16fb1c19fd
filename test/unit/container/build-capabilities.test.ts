import assert from "node:assert/strict";
import { test } from "node:test";
import { buildCapabilities } from "../../../src/container/build-capabilities.ts";
import type { ContainerSecurity } from "../../../src/container/container-config.ts";
import { capabilityMask, capabilityNames } from "../../../src/linux/capabilities.ts";
import { defaultCapabilities, nestedBoundingSet, security } from "./container-fixtures.ts";

const host = { boundingCapabilities: nestedBoundingSet, defaultCapabilities };
const sorted = (names: readonly string[]): string[] => capabilityNames(capabilityMask(names, "test"));
const granted = (capabilities: Partial<ContainerSecurity["capabilities"]>): readonly string[] =>
  buildCapabilities(security({ capabilities: { add: [], drop: [], addAmbient: [], ...capabilities } }), host)
    .permitted ?? [];

test("`buildCapabilities()` gives the default set", () => {
  assert.deepEqual(granted({}), sorted(defaultCapabilities));
});

test("`buildCapabilities()` takes names with and without prefix, in any case", () => {
  assert.ok(granted({ add: ["net_admin"] }).includes("CAP_NET_ADMIN"));
  assert.ok(!granted({ drop: ["CAP_CHOWN"] }).includes("CAP_CHOWN"));
});

test("`buildCapabilities()` drops ALL before it adds single ones", () => {
  assert.deepEqual(granted({ drop: ["ALL"], add: ["NET_BIND_SERVICE"] }), ["CAP_NET_BIND_SERVICE"]);
});

test("`buildCapabilities()` adds ALL before it drops single ones", () => {
  const names = granted({ add: ["all"], drop: ["SYS_ADMIN"] });
  assert.ok(!names.includes("CAP_SYS_ADMIN"));
  assert.ok(names.includes("CAP_NET_ADMIN"));
});

test("`buildCapabilities()` never gives what the runtime itself lacks", () => {
  assert.ok(!granted({ add: ["ALL"] }).includes("CAP_SYS_RESOURCE"));
  assert.ok(!granted({ add: ["SYS_RESOURCE"] }).includes("CAP_SYS_RESOURCE"));
  const privileged = buildCapabilities(security({ privileged: true }), host);
  assert.deepEqual(privileged.permitted, capabilityNames(nestedBoundingSet));
});

// CVE-2022-27652, CVE-2022-29162: a container with inheritable capabilities lets programs gain them by file caps.
test("`buildCapabilities()` leaves the inheritable set empty", () => {
  for (const isPrivileged of [false, true]) {
    const sets = buildCapabilities(security({ privileged: isPrivileged }), host);
    assert.deepEqual(sets.inheritable, []);
    assert.deepEqual(sets.ambient, []);
  }
});

test("`buildCapabilities()` makes ambient capabilities inheritable, and nothing else", () => {
  const sets = buildCapabilities(
    security({ capabilities: { add: [], drop: [], addAmbient: ["NET_BIND_SERVICE"] } }),
    host,
  );
  assert.deepEqual(sets.ambient, ["CAP_NET_BIND_SERVICE"]);
  assert.deepEqual(sets.inheritable, ["CAP_NET_BIND_SERVICE"]);
});

test("`buildCapabilities()` refuses an ambient capability that the container does not have", () => {
  assert.throws(() => granted({ addAmbient: ["SYS_ADMIN"] }), {
    code: "invalid-argument",
    message:
      "config.linux.security_context.capabilities.add_ambient_capabilities has CAP_SYS_ADMIN, which the container does not have",
  });
});

test("`buildCapabilities()` refuses an unknown name", () => {
  assert.throws(() => granted({ add: ["CAP_FLY"] }), {
    code: "invalid-argument",
    message: 'config.linux.security_context.capabilities.add_capabilities has "CAP_FLY": not a capability',
  });
});
