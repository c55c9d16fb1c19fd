// What the operator lets plugins change, and which plugins must have been asked.
import { CricketError, failedPrecondition, invalidArgument } from "../../base/errors.ts";
import type { NriConfig } from "../../config/config.ts";
import type { SecurityProfile } from "../../sandbox/sandbox-config.ts";
import type { FieldName, FieldOwners } from "./field-owners.ts";

/** Annotation of a pod: names of plugins, as a list in YAML. */
export const requiredPluginsAnnotation = "required-plugins.noderesource.dev";

export type RuleSettings = Pick<NriConfig, "requiredPlugins" | "tolerateMissingAnnotation" | "reject">;

export interface RuleSubject {
  containerId: string;
  containerName: string;
  podAnnotations: Readonly<Record<string, string>>;
  /** As the CRI has it; undefined: unconfined. */
  seccomp: SecurityProfile | undefined;
}

/**
 * @param present names of the plugins that were asked and are still there, without their index
 * @throws CricketError unavailable naming the plugins that are missing
 */
export async function checkRequiredPlugins(
  subject: RuleSubject,
  present: readonly string[],
  settings: RuleSettings,
): Promise<void> {
  const required = [...settings.requiredPlugins, ...(await annotatedPlugins(subject))];
  const missing = required.filter((name) => !present.includes(name));
  if (missing.length === 0 || toleratesMissing(subject, settings.tolerateMissingAnnotation)) return;
  throw new CricketError("unavailable", `required NRI plugin is not connected: ${missing.join(", ")}`);
}

/** Whether a container has to wait for plugins even where none is connected. */
export function requiresPlugins(subject: RuleSubject, settings: RuleSettings): boolean {
  return settings.requiredPlugins.length > 0 || effective(subject, requiredPluginsAnnotation) !== undefined;
}

/** @throws CricketError failed-precondition naming the plugin and what it may not change */
export function checkRejected(subject: RuleSubject, owners: FieldOwners, { reject }: RuleSettings): void {
  const { containerId, seccomp } = subject;
  const seccompKind = `seccomp-${seccomp?.type ?? "unconfined"}`;
  const changes: [what: string, field: FieldName][] = [
    ["hooks", "hooks"],
    [seccompKind, "seccompPolicy"],
    ["namespaces", "namespace"],
    ["sysctls", "sysctl"],
  ];
  for (const [what, field] of changes) {
    const plugin = owners.adjusterOf(containerId, field);
    if (plugin !== undefined && reject.includes(what))
      throw failedPrecondition(`plugin ${plugin} adjusts ${what}, which nri.reject does not allow`);
  }
}

/** As Go reads a bool: the validators of other runtimes are written in it. */
function toleratesMissing(subject: RuleSubject, annotation: string): boolean {
  const text = annotation === "" ? undefined : effective(subject, annotation);
  if (text === undefined || /^(?:0|f|F|false|False|FALSE)$/.test(text)) return false;
  if (/^(?:1|t|T|true|True|TRUE)$/.test(text)) return true;
  throw invalidArgument(`annotation ${annotation} is ${JSON.stringify(text)}: neither true nor false`);
}

async function annotatedPlugins(subject: RuleSubject): Promise<string[]> {
  const text = effective(subject, requiredPluginsAnnotation);
  if (text === undefined) return [];
  const { parse } = await import("yaml");
  let names: unknown;
  try {
    names = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw new CricketError("invalid-argument", `annotation ${requiredPluginsAnnotation} is not YAML`, {
      cause: error,
    });
  }
  // An empty text is an empty list.
  if (names === null) return [];
  if (!Array.isArray(names) || names.some((name) => typeof name !== "string"))
    throw new CricketError(
      "invalid-argument",
      `annotation ${requiredPluginsAnnotation} is not a list of names`,
    );
  return names as string[];
}

/** For one container, for the pod, or the bare key. */
function effective({ podAnnotations, containerName }: RuleSubject, key: string): string | undefined {
  for (const name of [`${key}/container.${containerName}`, `${key}/pod`, key])
    if (Object.hasOwn(podAnnotations, name)) return podAnnotations[name];
  return undefined;
}
