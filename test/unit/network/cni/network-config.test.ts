import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CricketError } from "../../../../src/base/errors.ts";
import {
  formatNetworkConfig,
  parseNetworkConfig,
  parsePluginConfig,
} from "../../../../src/network/cni/network-config.ts";

const list = (more: object = {}) =>
  JSON.stringify({ cniVersion: "1.0.0", name: "n", plugins: [{ type: "bridge" }], ...more });

test("`parseNetworkConfig()` reads a list", () => {
  const config = parseNetworkConfig(
    list({
      cniVersions: ["0.4.0", "1.1.0", "2.0.0"],
      disableCheck: true,
      disableGC: "True",
      plugins: [{ type: "bridge", capabilities: { ips: true, mac: false }, "cni.dev/x": 1 }],
    }),
  );
  const [plugin] = config.plugins;
  assert.deepEqual(config.versions, ["0.4.0", "1.0.0", "1.1.0"]);
  assert.deepEqual([config.disableCheck, config.disableGc, config.inlinedOnly], [true, true, false]);
  assert.deepEqual([plugin?.type, [...(plugin?.capabilities ?? [])]], ["bridge", ["ips"]]);
});

test("`parseNetworkConfig()` takes a single plugin as a list of one", () => {
  const config = parseNetworkConfig('{"cniVersion":"0.3.1","name":"n","type":"ptp","mtu":1400}');
  assert.deepEqual(
    config.plugins.map(({ source }) => source),
    [{ cniVersion: "0.3.1", name: "n", type: "ptp", mtu: 1400 }],
  );
});

for (const [what, text, message] of [
  ["text that is no JSON", "{", /not JSON/],
  ["a list of values", "[]", /not a JSON object/],
  ["a missing name", list({ name: undefined }), /name "" is not a network name/],
  ["a name that leads elsewhere", list({ name: "../x" }), /not a network name/],
  ["a name that is no text", list({ name: 7 }), /name is not a string/],
  ["a missing version", list({ cniVersion: undefined }), /cniVersion "" is not supported/],
  ["an old version", list({ cniVersion: "0.2.0" }), /cniVersion 0.2.0 is not supported/],
  ["a version that is none", list({ cniVersion: "one" }), /"one" is not a version/],
  ["plugins that are no list", list({ plugins: {} }), /plugins is not a list/],
  ["a plugin that is no object", list({ plugins: [1] }), /plugins\[0\] is not an object/],
  ["a plugin without a type", list({ plugins: [{}] }), /plugins\[0\].type "" is not/],
  ["a plugin outside its directory", list({ plugins: [{ type: "../sh" }] }), /type "..\/sh" is not/],
  ["a plugin that is the directory", list({ plugins: [{ type: ".." }] }), /type ".." is not/],
  ["no plugin at all", list({ plugins: [], loadOnlyInlinedPlugins: true }), /plugins is empty/],
  [
    "capabilities that are a list",
    list({ plugins: [{ type: "a", capabilities: [] }] }),
    /capabilities is not/,
  ],
  ["a switch that is neither", list({ disableGC: "maybe" }), /disableGC is not true or false/],
] as const)
  test(`\`parseNetworkConfig()\` rejects ${what}`, () => {
    assert.throws(() => parseNetworkConfig(text), { code: "invalid-argument", message });
  });

test("`formatNetworkConfig()` keeps what an attachment needs", () => {
  const config = parseNetworkConfig(list({ disableCheck: true }));
  const added = parsePluginConfig('{"type":"late","capabilities":{"dns":true}}');
  const all = { ...config, plugins: [...config.plugins, added] };
  assert.deepEqual(parseNetworkConfig(formatNetworkConfig(all, "1.0.0")), { ...all, inlinedOnly: true });
});

test("`parseNetworkConfig()` throws nothing but its own errors", () => {
  const keys = ["name", "cniVersion", "cniVersions", "plugins", "type", "capabilities", "disableGC"];
  const source = fc.dictionary(fc.constantFrom(...keys), fc.jsonValue());
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        source.map((value) => JSON.stringify(value)),
      ),
      (text) => {
        try {
          parseNetworkConfig(text);
        } catch (error) {
          assert.ok(error instanceof CricketError && error.code === "invalid-argument", String(error));
        }
      },
    ),
  );
});
