// Which SELinux labels pods and containers get. Every pod has a pair of categories of its own, so that the same policy
// type keeps two pods apart; its containers share it, and with it the pod's volumes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CricketError, errnoOf, invalidArgument, wrapError } from "../base/errors.ts";
import type { SecurityConfig } from "../config/config.ts";
import {
  hasSelinuxCapability,
  hasSelinuxLevels,
  isSelinuxEnabled,
  isSelinuxEnforcing,
  isValidSelinuxLabel,
  setFileLabel,
} from "../linux/selinux.ts";
import type { SelinuxOptions } from "./sandbox-config.ts";
import {
  formatSelinuxLabel,
  overrideLabels,
  parseContexts,
  parseSelinuxLabel,
  superPrivilegedType,
  uniqueLevel,
  type SelinuxLabels,
} from "./selinux-label.ts";

/** The kernel's and the policy's side. */
export interface SelinuxHost {
  readonly hasLevels: boolean;
  isEnforcing(): boolean;
  isValid(label: string): boolean;
  /** The policy has permissions of its own for what no_new_privs and nosuid would forbid. */
  readonly hasNosuidTransitions: boolean;
  /** Labels an open file, where the daemon's own domain may. */
  labelFile(fd: number, label: string): void;
  /** What the policy's package says that containers get. */
  readonly contexts: { process?: string; file?: string };
}

export interface SelinuxStatus {
  enabled: boolean;
  enforcing?: boolean;
  processLabel?: string;
  mountLabel?: string;
}

/** What policies of the field call containers and their files. */
const usualContexts = {
  process: "system_u:system_r:container_t:s0",
  file: "system_u:object_r:container_file_t:s0",
};

const field = "config.linux.security_context.selinux_options";

export class Selinux {
  readonly #config: SecurityConfig;
  readonly #host: SelinuxHost | undefined;
  /** Without the categories of a pod. */
  readonly #base: SelinuxLabels | undefined;
  /** Process label of privileged containers, the same for all: they are kept from nothing. "": none. */
  readonly #privileged: string;

  /** `host` is undefined where there is no SELinux. */
  constructor(config: SecurityConfig, host: SelinuxHost | undefined = kernelSelinux(config)) {
    this.#config = config;
    this.#host = host;
    this.#base = host === undefined ? undefined : baseLabels(host);
    this.#privileged = privilegedLabel(this.#base, host);
  }

  get isEnabled(): boolean {
    return this.#base !== undefined;
  }

  status(): SelinuxStatus {
    if (this.#host === undefined || this.#base === undefined) return { enabled: false };
    const { process, mount } = this.#base;
    return {
      enabled: true,
      enforcing: this.#host.isEnforcing(),
      processLabel: process,
      mountLabel: mount,
    };
  }

  /**
   * The labels of a new pod; undefined without SELinux. `taken` are the labels of the other pods. A level that is asked
   * for is the caller's choice, shared or not.
   * @throws CricketError invalid-argument for labels the policy does not know, resource-exhausted without free categories
   */
  labelsOfPod(
    options: SelinuxOptions | undefined,
    taken: readonly (SelinuxLabels | undefined)[],
  ): SelinuxLabels | undefined {
    if (this.#host === undefined || this.#base === undefined) return undefined;
    const asked = this.#options(options);
    const level = asked?.level ?? "";
    const base =
      this.#host.hasLevels && level === ""
        ? withLevel(this.#base, freeLevel(this.#config.selinuxCategoryRange, taken))
        : this.#base;
    return this.#checked(overrideLabels(base, asked), options);
  }

  /**
   * The labels of a container. Sharing the host's processes or IPC means sharing what the labels would keep apart, so
   * there are none; by configuration those in the host's network run as what the policy makes of a program that the
   * runtime starts; so do privileged ones of a policy without a type for them.
   */
  labelsOfContainer(
    pod: SelinuxLabels | undefined,
    container: {
      privileged: boolean;
      selinux?: SelinuxOptions;
      namespaces: { network: string; pid: string; ipc: string };
    },
  ): SelinuxLabels {
    if (pod === undefined || !this.isEnabled) return { process: "", mount: "" };
    const { privileged, namespaces, selinux } = container;
    if (namespaces.pid === "node" || namespaces.ipc === "node") return { process: "", mount: "" };
    const labels = this.#checked(overrideLabels(pod, this.#options(selinux)), selinux);
    if (privileged) return { ...labels, process: this.#privileged };
    const sharesNetwork = namespaces.network === "node" && this.#config.hostNetworkDisableSelinux;
    return sharesNetwork ? { ...labels, process: "" } : labels;
  }

  /**
   * The process label of pause, which is that of a container of the pod. A policy that knows nothing of transitions
   * out of a file that no mount namespace has, as pause's in memory, would let no pause start under it.
   */
  labelOfPause(
    pod: SelinuxLabels | undefined,
    security: { privileged: boolean; namespaces: { network: string; pid: string; ipc: string } },
  ): string {
    if (this.#host?.hasNosuidTransitions !== true) return "";
    return this.labelsOfContainer(pod, security).process;
  }

  /** Labels the program that pause is, open as `fd`: the policy lets a domain be entered from files of containers. */
  labelPauseProgram(fd: number): void {
    if (this.#base !== undefined) this.#host?.labelFile(fd, this.#base.mount);
  }

  #options(options: SelinuxOptions | undefined): SelinuxOptions | undefined {
    if (options === undefined || this.#host?.hasLevels === true) return options;
    return { ...options, level: "" };
  }

  #checked(labels: SelinuxLabels, options: SelinuxOptions | undefined): SelinuxLabels {
    if (options === undefined) return labels;
    for (const label of [labels.process, labels.mount])
      if (this.#host?.isValid(label) !== true)
        throw invalidArgument(`${field}: the loaded SELinux policy does not know the label ${label}`);
    return labels;
  }
}

function baseLabels(host: SelinuxHost): SelinuxLabels | undefined {
  const { process, file } = { ...usualContexts, ...host.contexts };
  const fit = (label: string): string =>
    host.hasLevels ? label : formatSelinuxLabel({ ...parseSelinuxLabel(label), level: "" });
  const labels = { process: fit(process), mount: fit(file) };
  // A policy without a word on containers: to label them would be to stop all of them.
  return host.isValid(labels.process) && host.isValid(labels.mount) ? labels : undefined;
}

function privilegedLabel(base: SelinuxLabels | undefined, host: SelinuxHost | undefined): string {
  if (base === undefined || host === undefined) return "";
  const label = formatSelinuxLabel({ ...parseSelinuxLabel(base.process), type: superPrivilegedType });
  return host.isValid(label) ? label : "";
}

function withLevel(labels: SelinuxLabels, level: string): SelinuxLabels {
  const set = (label: string): string => formatSelinuxLabel({ ...parseSelinuxLabel(label), level });
  return { process: set(labels.process), mount: set(labels.mount) };
}

function freeLevel(range: number, taken: readonly (SelinuxLabels | undefined)[]): string {
  const levels = new Set(taken.map((labels) => parseSelinuxLabel(labels?.process ?? "").level));
  const level = uniqueLevel(range, levels);
  if (level === undefined)
    throw new CricketError("resource-exhausted", `all pairs of ${range} SELinux categories are in use`);
  return level;
}

function kernelSelinux({ enableSelinux }: SecurityConfig): SelinuxHost | undefined {
  if (!enableSelinux || !isSelinuxEnabled()) return undefined;
  return {
    hasLevels: hasSelinuxLevels(),
    isEnforcing: isSelinuxEnforcing,
    isValid: isValidSelinuxLabel,
    hasNosuidTransitions: hasSelinuxCapability("nnp_nosuid_transition"),
    labelFile: labelIfAllowed,
    contexts: readContexts(),
  };
}

// A domain that may not has files that containers may be entered from: the field's policies say so of their runtimes'.
function labelIfAllowed(fd: number, label: string): void {
  try {
    setFileLabel(fd, label);
  } catch (error) {
    if (errnoOf(error) !== "EACCES") throw wrapError(`label a file ${label}`, error);
  }
}

function readContexts(): { process?: string; file?: string } {
  const type = /^SELINUXTYPE=\s*(\S+)/m.exec(readOptional("/etc/selinux/config") ?? "")?.[1] ?? "targeted";
  const text =
    readOptional("/usr/share/containers/selinux/contexts") ??
    readOptional(join("/etc/selinux", type, "contexts/lxc_contexts"));
  return parseContexts(text ?? "");
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw wrapError(`read ${path}`, error);
  }
}
