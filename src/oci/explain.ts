// `cricket explain`: a launch program as numbered steps, each with its reason and the rule behind it.
import { CricketError } from "../base/errors.ts";
import type { Descriptor, LaunchProgram, Step } from "../linux/launch-program.ts";
import { compileContainer } from "./compile-container.ts";
import { compileSeccomp } from "./compile-seccomp.ts";
import type { ContainerLaunch, NamespaceJoin, SeccompFilter } from "./container-launch.ts";
import { formatStep, type DescriptorNames } from "./format-step.ts";
import type { Seccomp } from "./linux-spec.ts";
import type { Spec } from "./spec.ts";

/**
 * ```
 *  1  fork new mount, pid
 *       the container's first process, with its new namespaces
 *       [OCI runtime-spec config-linux.md#namespaces]
 * ```
 */
export function explainProgram(
  program: LaunchProgram,
  name: DescriptorNames = (fd) => `descriptor ${fd}`,
): string {
  const width = String(program.steps.length).length;
  return program.steps.map((step, index) => explainStep(step, index + 1, width, name)).join("");
}

function explainStep(step: Step, number: number, width: number, name: DescriptorNames): string {
  const indent = " ".repeat(width + 6);
  const { because, optional } = step;
  const lines = [`${String(number).padStart(width + 1)}  ${formatStep(step, name)}`];
  if (because !== undefined) lines.push(`${indent}${because.why}`);
  if (optional === true) lines.push(`${indent}a failure of this step is only a warning`);
  if (because?.source !== undefined) lines.push(`${indent}[${because.source}]`);
  return `${lines.join("\n")}\n`;
}

/**
 * The program that would launch a config.json, with words in place of descriptors. Needs no privilege and no bundle.
 * `beginsEmpty`: by a runtime that has an empty mount namespace.
 * @throws CricketError as compileContainer does
 */
export function explainSpec(spec: Spec, beginsEmpty = false): string {
  const names = new DescriptorLabels();
  const launch = placeholderLaunch(spec, names);
  if (beginsEmpty) launch.emptyNamespace = names.add("an empty mount namespace");
  return explainProgram(compileContainer(launch), (fd) => names.of(fd));
}

/** Numbers that stand for descriptors nobody opened. */
class DescriptorLabels {
  readonly #labels: string[] = [];

  add(label: string): Descriptor {
    return this.#labels.push(label) - 1;
  }

  of(fd: Descriptor): string {
    return this.#labels[fd] ?? `descriptor ${fd}`;
  }
}

function placeholderLaunch(spec: Spec, names: DescriptorLabels): ContainerLaunch {
  const cgroup = spec.linux?.cgroupsPath ?? "the container's cgroup";
  const seccomp = spec.linux?.seccomp;
  return {
    id: "ID",
    spec,
    env: (spec.process?.env ?? []).map((line) => Buffer.from(line)),
    rootfs: {
      mount: names.add(spec.root?.path ?? "rootfs"),
      target: "the container's directory",
      parentMount: "the mount below the container's directory",
    },
    join: placeholderJoins(spec, names),
    userNamespace: names.add("the container's user namespace"),
    cgroup: { files: [], directory: names.add(cgroup), rdt: rdtTasks(spec).map((name) => names.add(name)) },
    cgroupView: { version: 2 },
    withoutMonitor: true,
    ...(seccomp === undefined ? {} : { seccomp: filterOrEmpty(seccomp) }),
  };
}

function rdtTasks({ linux }: Spec): string[] {
  if (linux?.intelRdt === undefined) return [];
  const { closID = "", enableMonitoring = false } = linux.intelRdt;
  const group = closID === "" ? "of its own" : closID;
  return [`tasks of the class ${group}`, ...(enableMonitoring ? ["tasks of its monitoring group"] : [])];
}

function placeholderJoins(spec: Spec, names: DescriptorLabels): NamespaceJoin[] {
  const joins: NamespaceJoin[] = [];
  for (const { type, path } of spec.linux?.namespaces ?? [])
    if (path !== undefined) joins.push({ fd: names.add(path), types: [type] });
  return joins;
}

// A machine without libseccomp can still explain everything else.
function filterOrEmpty(seccomp: Seccomp): SeccompFilter {
  try {
    return compileSeccomp(seccomp);
  } catch (error) {
    if (error instanceof CricketError && error.code === "failed-precondition")
      return { program: new Uint8Array(), flags: 0, listener: false };
    throw error;
  }
}
