// features: what this runtime can do, for engines that ask before they use it (runtime-spec features.md).
import { capabilityNames } from "../../linux/capabilities.ts";
import { mountOptionNames } from "../mount-options.ts";
import { seccompFlags, takesSeccompFlags } from "../../linux/seccomp-support.ts";
import { memoryPolicyFlags, memoryPolicyModes } from "../linux-spec.ts";
import { NEWEST_SPEC_VERSION } from "../spec.ts";

const allCapabilities = (1n << 41n) - 1n;

/** Those that libseccomp can put into one filter with x86-64 or arm64: of the same byte order. */
const seccompArchitectures = ["AARCH64", "ARM", "X32", "X86", "X86_64"];

export function features(version: string): Record<string, unknown> {
  return {
    ociVersionMin: "1.0.0",
    ociVersionMax: NEWEST_SPEC_VERSION,
    hooks: ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
    mountOptions: mountOptionNames(),
    linux: {
      namespaces: ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
      capabilities: capabilityNames(allCapabilities),
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: false, rdma: true },
      seccomp: {
        enabled: true,
        actions: [
          "SCMP_ACT_ALLOW",
          "SCMP_ACT_ERRNO",
          "SCMP_ACT_KILL",
          "SCMP_ACT_KILL_PROCESS",
          "SCMP_ACT_KILL_THREAD",
          "SCMP_ACT_LOG",
          "SCMP_ACT_NOTIFY",
          "SCMP_ACT_TRACE",
          "SCMP_ACT_TRAP",
        ],
        operators: [
          "SCMP_CMP_EQ",
          "SCMP_CMP_GE",
          "SCMP_CMP_GT",
          "SCMP_CMP_LE",
          "SCMP_CMP_LT",
          "SCMP_CMP_MASKED_EQ",
          "SCMP_CMP_NE",
        ],
        archs: seccompArchitectures.map((name) => `SCMP_ARCH_${name}`),
        knownFlags: [...seccompFlags.keys()],
        supportedFlags: [...seccompFlags].filter(([, bit]) => takesSeccompFlags(bit)).map(([name]) => name),
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      mountExtensions: { idmap: { enabled: true } },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      memoryPolicy: { modes: memoryPolicyModes, flags: memoryPolicyFlags },
      netDevices: { enabled: true },
    },
    // features.md#unsafe-annotations-in-configjson: with --systemd-cgroup they change the scope.
    potentiallyUnsafeConfigAnnotations: ["org.systemd.property."],
    annotations: { "io.github.cricket.version": version },
  };
}
