import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { newId } from "../../../../src/base/ids.ts";
import { AttachmentCache, type CachedAttachment } from "../../../../src/network/cni/attachment-cache.ts";
import { parseNetworkConfig } from "../../../../src/network/cni/network-config.ts";
import { CniDouble, recordingLog } from "../../../support/cni-double.ts";

const cachedAttachment = (): CachedAttachment => ({
  plan: {
    config: parseNetworkConfig(
      '{"cniVersion":"1.0.0","name":"n","loadOnlyInlinedPlugins":true,"plugins":[{"type":"bridge","mtu":9000}]}',
    ),
    version: "1.0.0",
  },
  attachment: {
    containerId: newId(),
    interfaceName: "eth0",
    netnsPath: "/run/netns/a",
    args: [["K8S_POD_NAME", "p"]],
    capabilityArguments: { portMappings: [{ hostPort: 1 }] },
  },
  result: undefined,
});

test("`AttachmentCache` finds after a restart what it recorded", async () => {
  using double = new CniDouble();
  const { log } = recordingLog();
  const cache = new AttachmentCache(double.stateDir, log);
  const [begun, completed, deleted] = [cachedAttachment(), cachedAttachment(), cachedAttachment()];
  await Promise.all([begun, completed, deleted].map((each) => cache.begin(each)));
  cache.complete(completed, { ips: [] });
  cache.delete(deleted);
  cache.delete(deleted);
  const again = new AttachmentCache(double.stateDir, log);
  assert.deepEqual(again.get(begun.attachment.containerId), begun);
  assert.deepEqual(again.get(completed.attachment.containerId), { ...completed, result: { ips: [] } });
  assert.equal(again.list().length, 2);
});

test("`AttachmentCache` writes the layout of libcni", async () => {
  using double = new CniDouble();
  const cached = cachedAttachment();
  await new AttachmentCache(double.stateDir, recordingLog().log).begin(cached);
  const file = path.join(double.stateDir, `n-${cached.attachment.containerId}-eth0`);
  const { config, ...stored } = JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, unknown>;
  assert.deepEqual(stored, {
    kind: "cniCacheV1",
    containerId: cached.attachment.containerId,
    ifName: "eth0",
    networkName: "n",
    netns: "/run/netns/a",
    cniArgs: [["K8S_POD_NAME", "p"]],
    capabilityArgs: { portMappings: [{ hostPort: 1 }] },
  });
  assert.equal((JSON.parse(Buffer.from(String(config), "base64").toString()) as { name: string }).name, "n");
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
});

test("`AttachmentCache` passes over files it cannot read, and removes those that were never finished", () => {
  using double = new CniDouble();
  const { log, lines } = recordingLog();
  fs.writeFileSync(path.join(double.stateDir, "n-x-eth0"), "garbage");
  fs.writeFileSync(path.join(double.stateDir, "n-y-eth0"), '{"kind":"cniCacheV1","containerId":"../../x"}');
  fs.writeFileSync(path.join(double.stateDir, "n-z-eth0.abc.tmp"), "{");
  assert.deepEqual(new AttachmentCache(double.stateDir, log).list(), []);
  assert.equal(lines.filter((line) => line.includes("not readable")).length, 2);
  assert.deepEqual(fs.readdirSync(double.stateDir), ["n-x-eth0", "n-y-eth0"]);
});
