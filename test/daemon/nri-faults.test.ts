// NRI plugins that are none, that hang or die: the node goes on.
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import path from "node:path";
import { describe, test } from "node:test";
import { v1 as nri } from "../../cri-api/nri/v1/api.js";
import { encodeFrame } from "../../src/plugins/ttrpc/frame.ts";
import { encodePayloads } from "../../src/plugins/ttrpc/multiplexer.ts";
import { TestPlugin } from "../support/nri-plugin.ts";
import { nriSuite, sleeping } from "../support/nri-suite.ts";
import { requires } from "../support/requires.ts";

describe("an NRI plugin", requires("root", "overlay", "package:busybox-static"), () => {
  const suite = nriSuite({ "nri.request_timeout_ms": 700, "nri.registration_timeout_ms": 5000 });
  const { withPlugin, ask } = suite;

  test("that hangs is left behind, and the call it held up goes on", async () => {
    const never = new Promise<never>(() => {});
    await withPlugin("10-hangs", { CreateContainer: () => never }, async (plugin, pod) => {
      await pod.start({ name: "main", ...sleeping });
      await plugin.closed;
    });
  });

  test("that dies in the middle of a call is left behind, too", async () => {
    let dying: TestPlugin | undefined;
    const CreateContainer = (): Promise<never> => {
      dying?.close();
      return new Promise<never>(() => {});
    };
    await withPlugin("10-dies", { CreateContainer }, async (plugin, pod) => {
      dying = plugin;
      await pod.start({ name: "main", ...sleeping });
    });
  });

  test("with a name or index that is none is refused", async () => {
    for (const name of ["1-short", "ab", "10-bad name", "10-"])
      await assert.rejects(
        TestPlugin.connect(suite.node.daemon.nriSocket, name),
        /plugin_(?:name|idx)|closed/,
      );
  });

  test("may be anything: garbage and silence are cut off, and the others go on", async () => {
    await withPlugin("10-good", {}, async (plugin, pod) => {
      const register = nri.RegisterPluginRequest.encode({ pluginName: "x", pluginIdx: "11" }).finish();
      const pieces: Buffer[][] = [
        [Buffer.from("GET / HTTP/1.1\r\nHost: nri\r\n\r\n")],
        [Buffer.from([0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff])],
        encodePayloads(2, Buffer.from("not a ttrpc frame, but long enough to be one")),
        // A frame whose message is none, and a response nobody waits for.
        encodePayloads(2, encodeFrame(1, 1, Buffer.from([0xff, 0xff, 0xff]))),
        encodePayloads(1, encodeFrame(1, 2, register)),
        encodePayloads(7, encodeFrame(1, 1, register)),
        [],
      ];
      await Promise.all(
        pieces.map(
          (piece) =>
            new Promise<void>((resolve) => {
              const socket = createConnection(suite.node.daemon.nriSocket);
              socket.on("error", () => {});
              socket.on("close", () => resolve());
              socket.resume();
              for (const bytes of piece) socket.write(bytes);
            }),
        ),
      );
      const containerId = await pod.start({ name: "main", ...sleeping });
      await plugin.until("PostStartContainer", containerId);
    });
  });

  test("that is installed is launched with its configuration, and ends with the daemon", async () => {
    const { daemon } = suite.node;
    const [plugins, configs] = ["nri-plugins", "nri-conf"].map((name) => path.join(daemon.directory, name));
    for (const directory of [plugins!, configs!]) mkdirSync(directory);
    const checkout = path.resolve(import.meta.dirname, "../..");
    const loader = path.join(checkout, "node_modules/tsx/dist/loader.mjs");
    const program = path.join(checkout, "test/support/launched-nri-plugin.ts");
    const script = path.join(plugins!, "05-installed");
    writeFileSync(script, `#!/bin/sh\nexec ${process.execPath} --import ${loader} ${program}\n`);
    chmodSync(script, 0o755);
    writeFileSync(path.join(plugins!, "07-not-executable"), "");
    // Others that are no use must not keep it out, or the daemon from starting.
    const useless = { "06-ends": "exit 3", "08-garbage": "echo garbage; echo garbage >&3; exec sleep 1000" };
    for (const [name, line] of Object.entries(useless))
      writeFileSync(path.join(plugins!, name), `#!/bin/sh\n${line}\n`, { mode: 0o755 });
    writeFileSync(path.join(plugins!, "09-no-program"), "\0garbage", { mode: 0o755 });
    mkdirSync(path.join(configs!, "09-no-program.conf"));
    writeFileSync(path.join(configs!, "installed.conf"), "INSTALLED=yes");
    await daemon.restart();
    const { info } = await suite.node.runtime.status({ verbose: true });
    assert.match(info["nri"] ?? "", /"plugins":\["05-installed"\]/);
    const pod = await suite.node.runPod("nri-installed");
    const containerId = await pod.start({ name: "main", ...sleeping });
    assert.match(await ask(containerId, "env"), /^INSTALLED=yes$/m);
    await pod.remove();
  });
});
