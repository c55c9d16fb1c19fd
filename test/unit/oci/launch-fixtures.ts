// A small spec and the descriptors around it, for the tests of the compiler.
import type { ContainerLaunch } from "../../../src/oci/container-launch.ts";
import type { Linux } from "../../../src/oci/linux-spec.ts";
import type { Process, Spec } from "../../../src/oci/spec.ts";
import type { LaunchProgram, Step } from "../../../src/linux/launch-program.ts";

export const newNamespaces = (["mount", "pid", "ipc", "uts", "network"] as const).map((type) => ({ type }));

export function process(changes: Partial<Process> = {}): Process {
  return { cwd: "/", args: ["/bin/true"], user: { uid: 0, gid: 0 }, ...changes };
}

export function spec(changes: Partial<Spec> = {}, linux: Partial<Linux> = {}): Spec {
  return {
    ociVersion: "1.2.0",
    root: { path: "rootfs" },
    process: process(),
    linux: { namespaces: newNamespaces, ...linux },
    ...changes,
  };
}

export function launch(changes: Partial<ContainerLaunch> = {}): ContainerLaunch {
  return {
    id: "c1",
    spec: spec(),
    env: [Buffer.from("PATH=/bin")],
    rootfs: { mount: 10, target: "/run/c1/rootfs" },
    join: [],
    cgroup: { files: [20, 21], directory: 22 },
    cgroupView: { version: 2 },
    ...changes,
  };
}

/** The kinds of the steps, in order. */
export const ops = ({ steps }: LaunchProgram): string[] => steps.map(({ op }) => op);

/** All steps of one kind, without their reasons. */
export function stepsOf(program: LaunchProgram, op: Step["op"]): Omit<Step, "because">[] {
  return program.steps.filter((step) => step.op === op).map(({ because: _because, ...step }) => step);
}

/** True when every step named comes after the one before it. */
export function isInOrder(program: LaunchProgram, ...wanted: Step["op"][]): boolean {
  let at = -1;
  return wanted.every((op) => {
    at = program.steps.findIndex((step, index) => index > at && step.op === op);
    return at !== -1;
  });
}
