// Spec -> launch program of a container. The order is the design: it is the OCI life cycle, and each part's file says
// why it stands where it stands.
import { invalidArgument } from "../base/errors.ts";
import type { LaunchProgram, Step } from "../linux/launch-program.ts";
import { compileCreateHooks } from "./compile-hooks.ts";
import { compileDevices, compileTerminal } from "./compile-devices.ts";
import { compileJoinCgroup, compileLimits, compileSession } from "./compile-limits.ts";
import { compileMounts } from "./compile-mounts.ts";
import {
  compileChildNamespaces,
  compileFork,
  compileParentNamespaces,
  isolatedTypes,
} from "./compile-namespaces.ts";
import { assertSeccompGiven, compileProcess } from "./compile-process.ts";
import {
  compileAttachRootfs,
  compileDirectories,
  compileEnterRootfs,
  compileHiddenPaths,
  compileWorkingDirectory,
} from "./compile-rootfs.ts";
import { compileNetDevices } from "./compile-net-devices.ts";
import { compileSysctls } from "./compile-sysctls.ts";
import type { ContainerLaunch } from "./container-launch.ts";
import { compileEmptyStart, usableEmptyNamespace } from "./empty-start.ts";
import { assertIdsMapped, compileLeaveHost, userNamespaceKind } from "./user-namespace.ts";
import type { Process, Spec } from "./spec.ts";

/**
 * The program of a container's first process, for a monitor or a detached host: it stops at the gate.
 * @throws CricketError invalid-argument or unimplemented, naming the property of the spec
 */
export function compileContainer(given: ContainerLaunch): LaunchProgram {
  const { emptyNamespace: offered, ...rest } = given;
  const emptyNamespace = offered === undefined ? undefined : usableEmptyNamespace(given);
  const launch: ContainerLaunch = emptyNamespace === undefined ? rest : { ...rest, emptyNamespace };
  const { spec } = launch;
  const process = processOf(spec);
  assertSeccompGiven(spec.linux, launch.seccomp);
  assertIdsMapped(spec.linux ?? {}, process);
  const mounts = compileMounts(launch);
  const netDevices = compileNetDevices(launch);
  const limits = compileLimits(process);
  const isEarly = limitsComeFirst(launch);
  // With a new user namespace the fork itself gives the host's privileges up, so what needs them stands before it.
  const isForkLast = userNamespaceKind(spec.linux) === "new";
  const leaveHost = compileLeaveHost(launch, mounts.opens);
  return {
    steps: [
      ...mounts.userNamespaces,
      ...compileParentNamespaces(launch),
      ...(isEarly ? limits : []),
      ...(isForkLast ? leaveHost : []),
      compileFork(launch),
      ...compileJoinCgroup(launch.cgroup),
      ...(isEarly ? [] : limits),
      ...(isForkLast ? [] : leaveHost),
      ...compileChildNamespaces(launch),
      ...compileSession(launch.id, process.selinuxLabel),
      ...compileLoopback(spec),
      ...compileHostname(spec),
      ...compileSysctls(spec),
      ...(emptyNamespace === undefined ? [] : mounts.opens),
      ...compileEmptyStart(emptyNamespace),
      ...compileAttachRootfs(launch),
      ...compileDirectories(launch),
      ...mounts.steps,
      ...compileDevices(launch),
      ...compileTerminal(launch),
      ...netDevices,
      ...compileCreateHooks(spec.hooks, netDevices.length > 0),
      ...compileWorkingDirectory(launch),
      ...mounts.closing,
      ...compileHiddenPaths(launch),
      ...compileEnterRootfs(launch),
      ...compileProcess({
        process,
        linux: spec.linux ?? {},
        env: launch.env,
        seccomp: launch.seccomp,
        boundingCapabilities: launch.boundingCapabilities,
        parentDeathSignal: launch.parentDeathSignal,
        gate: true,
        findsProgram: launch.withoutMonitor === true,
        startHooks: spec.hooks?.startContainer ?? [],
      }),
    ],
  };
}

// Root of a new user namespace may neither raise a limit nor open oom_score_adj. The child inherits them; but a monitor
// would keep them, too.
function limitsComeFirst({ spec, withoutMonitor = false }: ContainerLaunch): boolean {
  return (
    withoutMonitor &&
    (spec.linux?.namespaces ?? []).some(({ type, path }) => type === "user" && path === undefined)
  );
}

function processOf(spec: Spec): Process {
  if (spec.process === undefined) throw invalidArgument("process is missing: nothing to start");
  return spec.process;
}

/** Of a new network namespace; one that is joined has its owner. Every runtime does it, so programs expect 127.0.0.1. */
function compileLoopback({ linux }: Spec): Step[] {
  const isNew = linux?.namespaces?.some(({ type, path }) => type === "network" && path === undefined);
  if (isNew !== true) return [];
  return [
    {
      op: "loopbackUp",
      because: { why: "programs expect 127.0.0.1", source: "OCI runtime-spec config-linux.md#namespaces" },
    },
  ];
}

function compileHostname({ hostname, domainname, linux }: Spec): Step[] {
  const isIsolated = isolatedTypes(linux).has("uts");
  const steps: Step[] = [];
  for (const [field, name] of Object.entries({ hostname, domainname })) {
    // Go programs write "" for "not given".
    if (name === undefined || name === "") continue;
    // The host's own name would change.
    if (!isIsolated)
      throw invalidArgument(`${field} is set, but the container has no uts namespace of its own`);
    const because = { why: `${field} of the container`, source: `OCI runtime-spec config.md#${field}` };
    steps.push(
      field === "hostname" ? { op: "sethostname", name, because } : { op: "setdomainname", name, because },
    );
  }
  return steps;
}
