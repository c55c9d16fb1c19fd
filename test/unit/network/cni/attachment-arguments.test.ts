import assert from "node:assert/strict";
import { test } from "node:test";
import {
  capabilityArguments,
  cniArgs,
  formatCniArgs,
  ipsAnnotation,
  macAnnotation,
} from "../../../../src/network/cni/attachment-arguments.ts";
import type { AttachRequest } from "../../../../src/network/pod-network.ts";

const request = (more: Partial<AttachRequest> = {}): AttachRequest => ({
  sandboxId: "s".repeat(64),
  pod: { name: "web", namespace: "shop", uid: "u" },
  netnsPath: "/run/netns/x",
  netnsFd: -1,
  routeSocket: -1,
  portMappings: [],
  annotations: {},
  ...more,
});

test("`cniArgs()` has what Kubernetes plugins look for", () => {
  const text = formatCniArgs(cniArgs(request()));
  const id = "s".repeat(64);
  assert.equal(
    text,
    `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${id};K8S_POD_UID=u`,
  );
});

for (const value of ["a;IP=10.0.0.1", "a=b", "a\0b", "a\nb"])
  test(`\`cniArgs()\` rejects ${JSON.stringify(value)} in any name`, () => {
    for (const field of ["name", "namespace", "uid"])
      assert.throws(() => cniArgs(request({ pod: { ...request().pod, [field]: value } })), {
        code: "invalid-argument",
        message: /K8S_POD_/,
      });
  });

test("`capabilityArguments()` has only what the pod has", () => {
  assert.deepEqual(capabilityArguments(request(), []), { "io.kubernetes.cri.pod-annotations": {} });
});

test("`capabilityArguments()` has DNS, cgroup, addresses and annotations", () => {
  const annotations = { [macAnnotation]: "c2:11:22:33:44:55", [ipsAnnotation]: "10.0.0.1/24, fd00::1" };
  const dns = { servers: ["1.1.1.1"], searches: ["a.b"], options: ["ndots:5"] };
  assert.deepEqual(capabilityArguments(request({ annotations, dns, cgroupParent: "/pods/x" }), []), {
    "io.kubernetes.cri.pod-annotations": annotations,
    dns,
    cgroupPath: "/pods/x",
    mac: "c2:11:22:33:44:55",
    ips: ["10.0.0.1/24", "fd00::1"],
  });
});

for (const [name, value] of [
  [macAnnotation, "c2:11:22:33:44"],
  [macAnnotation, "c2-11-22-33-44-55"],
  [ipsAnnotation, "10.0.0.256"],
  [ipsAnnotation, "10.0.0.1/33"],
  [ipsAnnotation, ""],
] as const)
  test(`\`capabilityArguments()\` rejects ${JSON.stringify(value)} as ${name}`, () => {
    assert.throws(() => capabilityArguments(request({ annotations: { [name]: value } }), []), {
      code: "invalid-argument",
      message: new RegExp(`^annotation ${name}`),
    });
  });
