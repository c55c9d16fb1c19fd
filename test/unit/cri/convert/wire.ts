// Requests as a client would send them: encoded and decoded once, so that converters see what the decoder yields.
import assert from "node:assert/strict";
import { CricketError } from "../../../../src/base/errors.ts";
import { v1 } from "../../../../cri-api/runtime/v1/api.js";

export function sandboxWire(change: v1.PodSandboxConfigSent = {}): v1.PodSandboxConfig {
  const config = { metadata: { name: "web", uid: "u1", namespace: "default", attempt: 2 }, ...change };
  return v1.PodSandboxConfig.decode(v1.PodSandboxConfig.encode(config).finish());
}

export function sandboxSecurity(securityContext: v1.LinuxSandboxSecurityContextSent): v1.PodSandboxConfig {
  return sandboxWire({ linux: { securityContext } });
}

export function containerWire(change: v1.ContainerConfigSent = {}): v1.ContainerConfig {
  const config = { metadata: { name: "main", attempt: 1 }, image: { image: "busybox" }, ...change };
  return v1.ContainerConfig.decode(v1.ContainerConfig.encode(config).finish());
}

export function containerSecurity(securityContext: v1.LinuxContainerSecurityContextSent): v1.ContainerConfig {
  return containerWire({ linux: { securityContext } });
}

/** The message of the invalid-argument that `convert` throws. */
export function refusal(convert: () => unknown): string {
  try {
    convert();
  } catch (error) {
    assert.ok(error instanceof CricketError, String(error));
    assert.equal(error.code, "invalid-argument");
    return error.message;
  }
  return assert.fail("nothing was thrown");
}
