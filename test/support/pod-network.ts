// The network of pods as a client sees it.
import assert from "node:assert/strict";
import type { v1 } from "../../cri-api/runtime/v1/api.js";
import type { CniDouble } from "./cni-double.ts";
import type { TestNode } from "./node.ts";

/** A node whose plugins are the double's, beside those in `binDirs`. */
export const cniSettings = (double: CniDouble, ...binDirs: string[]) => ({
  "network.cni_conf_dir": double.confDir,
  "network.cni_bin_dirs": [...binDirs, double.binDir],
});

export async function networkReady(node: TestNode): Promise<v1.RuntimeCondition> {
  const { status } = await node.runtime.status({});
  const condition = status?.conditions.find(({ type }) => type === "NetworkReady");
  assert.ok(condition !== undefined);
  return condition;
}

/** The first is the primary one, "" for none. */
export async function addressesOf(node: TestNode, podSandboxId: string): Promise<string[]> {
  const network = (await node.runtime.podSandboxStatus({ podSandboxId })).status?.network;
  return [network?.ip ?? "", ...(network?.additionalIps ?? []).map((more) => more.ip)];
}
