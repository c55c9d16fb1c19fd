// Device access: by the v1 controller, or by an eBPF program on cgroup v2, which hybrid machines can run as well.
import assert from "node:assert/strict";
import { closeSync, openSync } from "node:fs";
import { test } from "node:test";
import { attachedDeviceFilters, replaceDeviceFilter } from "../../../src/linux/bpf.ts";
import { encodeDeviceFilter } from "../../../src/linux/cgroup/device-filter.ts";
import { resolveDeviceRules, type DeviceRule } from "../../../src/linux/cgroup/device-rules.ts";
import { errnoOf } from "../../../src/base/errors.ts";
import { asRoot, cgroupFixture, outputOf } from "./cgroup-fixture.ts";

const container: DeviceRule[] = [
  { allow: false, type: "a", access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "c", major: 1, minor: 3, access: "rwm" },
  { allow: true, type: "c", major: 1n, minor: 9n, access: "r" },
];

// 1:3 null, 1:5 zero, 1:9 urandom.
const script = `
try() { name=$1; shift; if "$@" 2>/dev/null; then echo "$name yes"; else echo "$name no"; fi; }
try null-read head -c 0 /dev/null
try null-write sh -c 'echo x > /dev/null'
try zero-read sh -c 'head -c 1 /dev/zero > /dev/null'
try urandom-read sh -c 'head -c 1 /dev/urandom > /dev/null'
try urandom-write sh -c ': >> /dev/urandom'
try urandom-both sh -c ': 3<> /dev/urandom'
`;

async function access(t: Parameters<typeof cgroupFixture>[0], setUp: (path: string) => void) {
  const { manager, path, run } = cgroupFixture(t);
  manager.create(path);
  setUp(path);
  const output = await outputOf(await run(script));
  return Object.fromEntries(
    output
      .trim()
      .split("\n")
      .map((line) => line.split(" ")),
  );
}

const expected = {
  "null-read": "yes",
  "null-write": "yes",
  "zero-read": "no",
  "urandom-read": "yes",
  "urandom-write": "no",
  "urandom-both": "no",
};

test("a container opens the devices it was given and no others", asRoot, async (t) => {
  try {
    assert.deepEqual(
      await access(t, (path) =>
        cgroupFixture({ after: () => {} } as never).manager.setDevices(path, container),
      ),
      expected,
    );
  } catch (error) {
    if (isWithoutBpf(error)) return t.skip("needs a kernel with CONFIG_CGROUP_BPF");
    throw error;
  }
  return undefined;
});

test("the eBPF device filter decides as the v1 controller does", asRoot, async (t) => {
  const { manager } = cgroupFixture(t);
  const { unified } = manager.layout;
  if (unified === undefined) return t.skip("needs cgroup v2 mounted");
  try {
    const filter = (rules: DeviceRule[]) => (path: string) => {
      const fd = openSync(unified.root + path, "r");
      try {
        // A second filter takes the place of the first.
        replaceDeviceFilter(fd, encodeDeviceFilter(resolveDeviceRules([])));
        replaceDeviceFilter(fd, encodeDeviceFilter(resolveDeviceRules(rules)));
        assert.equal(attachedDeviceFilters(fd).length, 1);
      } finally {
        closeSync(fd);
      }
    };
    assert.deepEqual(await access(t, filter(container)), expected);
    // Everything but writing to urandom: opening it for both must not slip through.
    const denied: DeviceRule[] = [
      { allow: true, type: "a" },
      { allow: false, type: "c", major: 1, minor: 9, access: "w" },
    ];
    assert.deepEqual(await access(t, filter(denied)), { ...expected, "zero-read": "yes" });
  } catch (error) {
    if (isWithoutBpf(error)) return t.skip("needs a kernel with CONFIG_CGROUP_BPF");
    throw error;
  }
  return undefined;
});

const isWithoutBpf = (error: unknown): boolean =>
  error instanceof Error &&
  error.message.startsWith("bpf ") &&
  ["ENOSYS", "EINVAL"].includes(errnoOf(error) ?? "");
