// Sandboxes and containers as the use cases show them.
import { containerConfigFromWire } from "../../../../src/cri/convert/container-config.ts";
import { sandboxConfigFromWire } from "../../../../src/cri/convert/sandbox-config.ts";
import { noResources } from "../../../../src/cri/convert/resources.ts";
import type { ContainerView, SandboxView } from "../../../../src/cri/services.ts";
import type { v1 } from "../../../../cri-api/runtime/v1/api.js";
import { containerWire, sandboxWire } from "./wire.ts";

export function sandboxView(
  id: string,
  change: v1.PodSandboxConfigSent = {},
  state: Partial<SandboxView["record"]> & { isReady?: boolean } = {},
): SandboxView {
  const { isReady = true, ...record } = state;
  return {
    isReady,
    record: {
      version: 1,
      id,
      config: sandboxConfigFromWire(sandboxWire(change), "config"),
      runtimeHandler: "",
      createdAtNs: 1_700_000_000_000_000_001n,
      bootId: "boot",
      cgroupPath: "/cricket/pod",
      ownsCgroup: true,
      committed: true,
      ips: [],
      ...record,
    },
  };
}

export function containerView(
  id: string,
  change: v1.ContainerConfigSent = {},
  record: Partial<ContainerView["record"]> = {},
): ContainerView {
  const config = containerConfigFromWire(containerWire(change), "config");
  const state =
    record.end !== undefined ? "exited" : record.startedAtNs === undefined ? "created" : "running";
  return {
    state,
    record: {
      version: 1,
      id,
      sandboxId: "s1",
      sandboxMetadata: { name: "web", uid: "u", namespace: "n", attempt: 0 },
      config,
      image: {
        id: "sha256:aa",
        ref: "docker.io/library/busybox@sha256:bb",
        name: "docker.io/library/busybox:1",
      },
      user: { uid: 5, gid: 6, supplementalGroups: [7] },
      stopSignal: "SIGTERM",
      resources: noResources,
      logPath: "/var/log/main.log",
      cgroupPath: "/cricket/c",
      bootId: "boot",
      createdAtNs: 1_700_000_000_000_000_001n,
      committed: true,
      ...record,
    },
  };
}
