// Pods with a user namespace of their own, for the tests of what they see and of what they may not have.
import { toInt64 } from "../../cri-api/int64.ts";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import type { TestNode, TestPod } from "../support/node.ts";

const { POD, CONTAINER } = v1.NamespaceMode;

export const firstHostId = 1_000_000;

export const map = (hostId: number, length = 65_536, containerId = 0) => [{ hostId, containerId, length }];

export const userns = (hostId = firstHostId, length = 65_536): v1.UserNamespaceSent => ({
  mode: POD,
  uids: map(hostId, length),
  gids: map(hostId, length),
});

export const options = (more: v1.NamespaceOptionSent = {}): v1.NamespaceOptionSent => ({
  network: POD,
  pid: CONTAINER,
  ipc: POD,
  usernsOptions: userns(),
  ...more,
});

export const security = (context: v1.LinuxContainerSecurityContextSent = {}): v1.ContainerConfigSent => ({
  linux: { securityContext: { namespaceOptions: options(), ...context } },
});

export async function withPod(
  node: TestNode,
  config: { name: string; namespaceOptions?: v1.NamespaceOptionSent; more?: v1.PodSandboxConfigSent },
  body: (pod: TestPod) => Promise<void>,
): Promise<void> {
  const { name, namespaceOptions = options(), more = {} } = config;
  const linux = { ...more.linux, securityContext: { ...more.linux?.securityContext, namespaceOptions } };
  const pod = await node.runPod(name, { more: { ...more, linux } });
  try {
    await body(pod);
  } finally {
    await pod.remove();
  }
}

export function start(
  pod: TestPod,
  name: string,
  more: v1.ContainerConfigSent = security(),
): Promise<string> {
  return pod.start({ name, command: ["sleep", "1000"], more });
}

export async function execIn(node: TestNode, containerId: string, script: string): Promise<string> {
  const cmd = ["sh", "-c", script];
  const { stdout, stderr } = await node.runtime.execSync({ containerId, cmd, timeout: toInt64(20n) });
  return Buffer.concat([stdout, stderr]).toString();
}
