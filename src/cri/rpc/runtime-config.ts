import { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { NodeUseCases } from "../services.ts";

/** The kubelet takes its cgroup driver from here; the two must agree or pods are put where nobody looks. */
export function runtimeConfig(node: NodeUseCases): v1.RuntimeConfigResponseSent {
  const { SYSTEMD, CGROUPFS } = v1.CgroupDriver;
  return { linux: { cgroupDriver: node.cgroupDriver() === "systemd" ? SYSTEMD : CGROUPFS } };
}
