import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test, type TestContext } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../../src/base/errors.ts";
import { cgroupResourcesOf } from "../../../../src/oci/runtime/cgroup-limits.ts";
import { BlockIoClasses } from "../../../../src/plugins/classes/block-io-classes.ts";
import { parseBlockIoConfig } from "../../../../src/plugins/classes/block-io-config.ts";
import { findBlockDevices, isDevicePattern } from "../../../../src/plugins/classes/find-devices.ts";
import { blockDevice } from "../../../support/block-device.ts";
import { requires } from "../../../support/requires.ts";

const scratch = (t: TestContext): string => {
  const directory = mkdtempSync(path.join(tmpdir(), "cricket-classes-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
};

describe("`parseBlockIoConfig()`", () => {
  test("takes the properties in any case, and numbers as they are", () => {
    const document = {
      Classes: {
        slow: [
          { Devices: ["/dev/sd?"], ThrottleReadBps: "60M", throttlewriteiops: 100, Weight: "" },
          { Weight: 50 },
        ],
        none: [],
      },
    };
    assert.deepEqual(Object.fromEntries(parseBlockIoConfig(document)), {
      slow: [
        {
          devices: ["/dev/sd?"],
          weight: undefined,
          throttles: { throttleReadBps: 60_000_000n, throttleWriteIOPS: 100n },
        },
        { devices: undefined, weight: 50, throttles: {} },
      ],
      none: [],
    });
    assert.deepEqual(parseBlockIoConfig(null).size, 0);
    assert.deepEqual(parseBlockIoConfig({ Classes: null }).size, 0);
  });

  const wrong: [document: unknown, message: string][] = [
    ["text", "the file is not a mapping"],
    [{ Classes: [] }, "Classes is not a mapping"],
    [{ Other: {} }, "Other is not known"],
    [{ Classes: { a: {} } }, "Classes.a is not a list"],
    [{ Classes: { a: [{ Speed: "1" }] } }, "Classes.a[0].Speed is not known"],
    [{ Classes: { a: [{ Weight: "5" }] } }, "Classes.a[0].Weight is 5: not in 10..1000"],
    [{ Classes: { a: [{ Weight: 50, weight: 60 }] } }, "Classes.a[0].weight is there twice"],
    [{ Classes: { a: [{ Weight: "heavy" }] } }, 'Classes.a[0].Weight is "heavy": not a quantity'],
    [{ Classes: { a: [{ ThrottleReadBps: "1M" }] } }, "Classes.a[0].ThrottleReadBps is set without Devices"],
    [{ Classes: { a: [{ Devices: ["sda"] }] } }, 'Classes.a[0].Devices[0] is "sda": not the path of devices'],
  ];
  for (const [document, message] of wrong)
    test(`names what is wrong: ${message}`, () => {
      assert.throws(() => parseBlockIoConfig(document), { code: "invalid-argument", message });
    });

  test("takes or refuses anything", () => {
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom("Classes", "a", "Devices", "Weight") }), (document) => {
        try {
          parseBlockIoConfig(document);
        } catch (error) {
          assert.ok(error instanceof CricketError, String(error));
        }
      }),
      { numRuns: 500, interruptAfterTimeLimit: 2000 },
    );
  });
});

test("`isDevicePattern()` takes what Go takes, below /", () => {
  for (const pattern of ["/dev/sda", "/dev/disk/by-id/*SSD*", "/dev/sd[a-c]", "/dev/[^s]??", "/dev/\\*"])
    assert.ok(isDevicePattern(pattern), pattern);
  for (const pattern of ["", "dev/sda", "/dev/../sda", "/dev/sd[", "/dev/sd[]", "/dev/x\\", "/dev/[c-a]"])
    assert.ok(!isDevicePattern(pattern), pattern);
});

test("`findBlockDevices()` tells names apart as Go does", requires("block-device"), (t) => {
  const directory = scratch(t);
  const names = ["a", "b", "c", "^", "-", "d", "\\", "[", "ab"];
  for (const name of names) symlinkSync(blockDevice()!.node, path.join(directory, name));
  const cases: [pattern: string, found: boolean][] = [
    ["?b", true],
    ["?c", false],
    ["[a-c]", true],
    ["[x-z]", false],
    ["[^-a-d^[\\\\]", false],
    ["\\^", true],
    ["[\\d]", true],
    ["\\*", false],
    ["*b", true],
    ["a?", true],
    ["a??", false],
    [".*", false],
  ];
  for (const [pattern, found] of cases)
    assert.equal(findBlockDevices([`${directory}/${pattern}`]).length, found ? 1 : 0, pattern);
});

test("no pattern that is one makes `findBlockDevices()` throw", (t) => {
  const directory = scratch(t);
  for (const name of ["a", "b-c", "[x]", "d.e"]) writeFileSync(path.join(directory, name), "");
  const part = fc.string({ unit: fc.constantFrom("*", "?", "[", "]", "^", "-", "\\", "a", "b", "c", ".") });
  fc.assert(
    fc.property(part, (text) => {
      const pattern = `${directory}/${text}`;
      if (isDevicePattern(pattern)) assert.deepEqual(findBlockDevices([pattern]), []);
    }),
    { numRuns: 500, interruptAfterTimeLimit: 2000 },
  );
});

describe("a class of block I/O", () => {
  const write = (file: string, classes: object): void =>
    writeFileSync(file, JSON.stringify({ Classes: classes }));

  test(
    "limits the devices that its paths mean, the later entry before the earlier",
    requires("block-device"),
    async (t) => {
      const directory = scratch(t);
      const { node, major, minor } = blockDevice()!;
      symlinkSync(node, path.join(directory, "disk-1"));
      symlinkSync("nowhere", path.join(directory, "disk-2"));
      writeFileSync(path.join(directory, "disk-3"), "not a device");
      const file = path.join(directory, "blockio.yaml");
      write(file, {
        slow: [
          {
            Devices: [`${directory}/disk-[0-9]`, node],
            ThrottleReadBps: "1Mi",
            ThrottleWriteIOPS: 7,
            Weight: 20,
          },
          { Devices: [node], ThrottleReadBps: "2Mi" },
          { Weight: 50 },
        ],
      });
      const blockIO = await new BlockIoClasses(file).resolve("slow");
      assert.deepEqual(blockIO, {
        weight: 50,
        weightDevice: [{ major, minor, weight: 20 }],
        throttleReadBpsDevice: [{ major, minor, rate: 2n << 20n }],
        throttleWriteIOPSDevice: [{ major, minor, rate: 7n }],
      });
      assert.deepEqual(cgroupResourcesOf({ blockIO }).blockIo?.readBytesPerSecond, [
        { major, minor, rate: 2n << 20n },
      ]);
    },
  );

  test("is found in the file as it is now", async (t) => {
    const file = path.join(scratch(t), "blockio.yaml");
    const classes = new BlockIoClasses(file);
    await assert.rejects(classes.resolve("slow"), {
      code: "failed-precondition",
      message: /^blockio\.config_file .*blockio\.yaml: ENOENT/,
    });
    write(file, { slow: [{ Weight: 50 }] });
    assert.deepEqual(await classes.resolve("slow"), { weight: 50 });
    await assert.rejects(classes.resolve("quick"), { message: `block I/O class quick is not in ${file}` });
    write(file, { slow: [{ Weight: 500 }] });
    assert.deepEqual(await classes.resolve("slow"), { weight: 500 });
    write(file, { slow: [{ Weight: 5 }] });
    await assert.rejects(classes.resolve("slow"), /Classes\.slow\[0\]\.Weight is 5/);
  });

  test("is none without a file", async () => {
    await assert.rejects(new BlockIoClasses("").resolve("slow"), {
      code: "failed-precondition",
      message: /blockio\.config_file is not set/,
    });
  });
});
