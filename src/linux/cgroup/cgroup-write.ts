// One write of a limit, and the place it goes to.
import { failedPrecondition, wrapError, type CricketError } from "../../base/errors.ts";
import type { FieldNames, LimitField } from "./field-names.ts";
import { hierarchyOf, type CgroupLayout } from "./layout.ts";

export interface CgroupWrite {
  file: string;
  value: string;
  /** The property it comes from, as the caller calls it. */
  field: string;
  /** "skip" where the file may be missing without the limit being lost. */
  ifMissing: "fail" | "skip";
  /** What a kernel needs to have the file, where not every kernel with the controller has it. */
  needs?: string;
}

export interface PlanContext {
  layout: CgroupLayout;
  /** Checked cgroup path. */
  path: string;
  read: (file: string) => string | undefined;
  names: FieldNames;
}

/** A controller's directory for the cgroup, and the writes of one property in it. */
export interface Place {
  version: 1 | 2;
  /** The content of a file; undefined where the kernel does not have it. */
  read(name: string): string | undefined;
  write(name: string, value: bigint | number | string, options?: { needs?: string }): CgroupWrite;
  writeIfPresent(name: string, value: bigint | number | string): CgroupWrite;
}

export interface PlaceOptions {
  /** The controller's name on cgroup v2, where it differs. */
  controllerV2?: string;
  /** Which one of several, "[2MB]": appended to the property's name. */
  detail?: string;
}

/** Throws failed-precondition when the machine has no such controller. */
export function placeOf(
  controller: string,
  limit: LimitField,
  context: PlanContext,
  { controllerV2 = controller, detail = "" }: PlaceOptions = {},
): Place {
  const { layout, path } = context;
  const field = `${context.names[limit]}${detail}`;
  const hierarchy = hierarchyOf(layout, controller) ?? hierarchyOf(layout, controllerV2);
  if (hierarchy === undefined) throw missingController(field, controller, layout);
  const write = (name: string, value: bigint | number | string): CgroupWrite => ({
    file: `${hierarchy.root}${path}/${name}`,
    value: String(value),
    field,
    ifMissing: "fail",
  });
  return {
    version: hierarchy.version,
    read: (name) => context.read(`${hierarchy.root}${path}/${name}`),
    write: (name, value, options) => ({ ...write(name, value), ...options }),
    writeIfPresent: (name, value) => ({ ...write(name, value), ifMissing: "skip" }),
  };
}

const onV1Alone = new Set(["net_cls", "net_prio"]);

function missingController(field: string, controller: string, layout: CgroupLayout): CricketError {
  const why = onV1Alone.has(controller) && layout.kind === "v2" ? ", which exists on cgroup v1 alone" : "";
  return failedPrecondition(
    `${field} cannot be set: the machine has no ${controller} cgroup controller${why}`,
  );
}

/** The error for what cgroup v2 does not have at all. */
export function notOnV2(field: string, file: string): CricketError {
  return failedPrecondition(`${field} cannot be set: cgroup v2 has no ${file}`);
}

/** Names the property, and what the kernel lacks where the file is not there. */
export function failedWrite({ field, needs }: CgroupWrite, error: unknown, isMissing: boolean): CricketError {
  const wrapped = wrapError(field, error);
  return isMissing && needs !== undefined
    ? failedPrecondition(`${wrapped.message} (needs ${needs})`)
    : wrapped;
}

export const isSet = (value: bigint | undefined): value is bigint => value !== undefined && value !== 0n;
