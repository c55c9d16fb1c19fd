// What plugins are told about a pod: CNI_ARGS for all of them, capability arguments for those that declare the
// capability (CNI 1.1, section 3 "Deriving runtimeConfig", and the CNI conventions).
import { isIP } from "node:net";
import { invalidArgument } from "../../base/errors.ts";
import type { AttachRequest } from "../pod-network.ts";
import { bandwidthOf } from "./bandwidth.ts";

/** Key and value, in order. */
export type CniArgs = readonly (readonly [string, string])[];

export type CapabilityArguments = Readonly<Record<string, unknown>>;

/**
 * The arguments Kubernetes network plugins look for.
 * @throws invalid-argument for a value that would end its own argument and begin another one of the caller's choice
 */
export function cniArgs({ pod, sandboxId }: Pick<AttachRequest, "pod" | "sandboxId">): CniArgs {
  const args: CniArgs = [
    ["IgnoreUnknown", "1"],
    ["K8S_POD_NAMESPACE", pod.namespace],
    ["K8S_POD_NAME", pod.name],
    ["K8S_POD_INFRA_CONTAINER_ID", sandboxId],
    ["K8S_POD_UID", pod.uid],
  ];
  for (const [key, value] of args)
    if (/[;=\0\r\n]/.test(value))
      throw invalidArgument(`${key} is ${JSON.stringify(value)}: not a value CNI_ARGS can carry`);
  return args;
}

export function formatCniArgs(args: CniArgs): string {
  return args.map(([key, value]) => `${key}=${value}`).join(";");
}

/** Annotations by which a pod asks for addresses; they count only where the operator's configuration has the capability. */
export const macAnnotation = "cni.cricket/mac";
export const ipsAnnotation = "cni.cricket/ips";

/**
 * All capability arguments this pod has; each plugin gets those it declares.
 * @throws invalid-argument that names the annotation
 */
export function capabilityArguments(
  request: AttachRequest,
  podCidrs: readonly string[],
): CapabilityArguments {
  const { annotations, dns, cgroupParent = "" } = request;
  const args: Record<string, unknown> = {
    // Plugins tell "none" from "not told": the annotations are always there.
    "io.kubernetes.cri.pod-annotations": annotations,
  };
  const mappings = portMappings(request);
  if (mappings.length > 0) args["portMappings"] = mappings;
  const bandwidth = bandwidthOf(annotations);
  if (bandwidth !== undefined) args["bandwidth"] = bandwidth;
  if (dns !== undefined) args["dns"] = dns;
  if (cgroupParent !== "") args["cgroupPath"] = cgroupParent;
  // One range set for each family: the plugin takes an address of each set.
  if (podCidrs.length > 0) args["ipRanges"] = podCidrs.map((subnet) => [{ subnet }]);
  const mac = annotations[macAnnotation];
  if (mac !== undefined) args["mac"] = checkedMac(mac);
  const ips = annotations[ipsAnnotation];
  if (ips !== undefined) args["ips"] = ips.split(",").map((ip) => checkedIp(ip.trim()));
  return args;
}

function portMappings({ portMappings }: AttachRequest): object[] {
  return portMappings
    .filter(({ hostPort }) => hostPort > 0)
    .map(({ hostPort, containerPort, protocol, hostIp }) => ({
      hostPort,
      containerPort,
      protocol,
      ...(hostIp === "" ? {} : { hostIP: hostIp }),
    }));
}

function checkedMac(text: string): string {
  if (!/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i.test(text))
    throw invalidArgument(`annotation ${macAnnotation} is ${JSON.stringify(text)}: not a hardware address`);
  return text;
}

function checkedIp(text: string): string {
  const [address = "", prefix, ...rest] = text.split("/");
  const bits = isIP(address) === 4 ? 32 : 128;
  const isPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
  if (isIP(address) === 0 || !isPrefix || rest.length > 0)
    throw invalidArgument(`annotation ${ipsAnnotation} has ${JSON.stringify(text)}: not an address`);
  return text;
}
