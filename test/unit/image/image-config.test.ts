import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { imageUser, parseImageDocument } from "../../../src/image/image-config.ts";

const diffId = `sha256:${"2".repeat(64)}`;
const parse = (document: unknown): ReturnType<typeof parseImageDocument> =>
  parseImageDocument(Buffer.from(JSON.stringify(document)));
const rootfs = { type: "layers", diff_ids: [diffId] };

describe("parseImageDocument()", () => {
  test("reads what a runtime needs", () => {
    const config = {
      User: "1000:100",
      Env: ["PATH=/bin", "A="],
      Entrypoint: ["/init"],
      Cmd: ["-v"],
      WorkingDir: "/srv",
      StopSignal: "SIGINT",
      Volumes: { "/data": {} },
      Labels: { a: "b" },
      ExposedPorts: { "80/tcp": {} },
    };
    assert.deepEqual(
      parse({ os: "linux", architecture: "arm64", variant: "v8", created: "2024", config, rootfs }),
      {
        os: "linux",
        architecture: "arm64",
        variant: "v8",
        created: "2024",
        config: {
          user: "1000:100",
          env: ["PATH=/bin", "A="],
          entrypoint: ["/init"],
          cmd: ["-v"],
          workingDir: "/srv",
          stopSignal: "SIGINT",
          volumes: ["/data"],
          labels: { a: "b" },
          exposedPorts: ["80/tcp"],
        },
        diffIds: [diffId],
      },
    );
  });

  test("takes null and nothing for empty, as Go writes them", () => {
    const { config } = parse({ config: { Env: null, Cmd: null, Labels: null, Volumes: null }, rootfs });
    assert.deepEqual(
      [config.env, config.cmd, config.labels, config.volumes, config.user],
      [[], [], {}, [], ""],
    );
    assert.deepEqual(parse({ config: null, rootfs: { type: "layers", diff_ids: null } }).diffIds, []);
  });

  const broken: [string, unknown, RegExp][] = [
    ["no rootfs", { config: {} }, /rootfs/],
    ["another rootfs type", { rootfs: { type: "blob" } }, /rootfs\.type/],
    ["a diff id of another form", { rootfs: { type: "layers", diff_ids: ["../x"] } }, /rootfs\.diff_ids/],
    ["Env that is text", { config: { Env: "A=b" }, rootfs }, /config\.Env/],
    ["Cmd with a number", { config: { Cmd: ["a", 1] }, rootfs }, /config\.Cmd/],
    ["User that is a number", { config: { User: 0 }, rootfs }, /config\.User/],
    ["labels that are no text", { config: { Labels: { a: 1 } }, rootfs }, /config\.Labels/],
  ];
  for (const [what, document, message] of broken)
    test(`names the property on ${what}`, () =>
      assert.throws(() => parse(document), { code: "failed-precondition", message }));

  test("throws nothing but failed-precondition, whatever the JSON", () => {
    const value = fc.jsonValue();
    fc.assert(
      fc.property(
        fc.oneof(value, fc.record({ config: value, rootfs: fc.oneof(value, fc.constant(rootfs)) })),
        (given) => {
          try {
            parse(given);
          } catch (error) {
            assert.equal((error as { code?: string }).code, "failed-precondition");
          }
        },
      ),
    );
  });
});

test("imageUser() tells numbers from names and never wraps a number around (CVE-2024-40635)", () => {
  const cases: [string, object][] = [
    ["", { username: "" }],
    ["0", { uid: 0, username: "" }],
    ["1000:1000", { uid: 1000, username: "" }],
    ["2147483647", { uid: 2147483647, username: "" }],
    ["2147483648", { username: "2147483648" }],
    ["4294967296", { username: "4294967296" }],
    ["99999999999999999999", { username: "99999999999999999999" }],
    ["-1", { username: "-1" }],
    ["nobody", { username: "nobody" }],
    ["nobody:wheel", { username: "nobody" }],
    ["0x0", { username: "0x0" }],
  ];
  for (const [user, expected] of cases) assert.deepEqual(imageUser(user), expected, user);
});
