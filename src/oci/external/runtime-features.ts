// What a runtime can do, as its `features` verb tells (runtime-spec features.md). Older ones do not have the verb.

export interface RuntimeFeatures {
  recursiveReadOnlyMounts: boolean;
  idmappedMounts: boolean;
  checkpoints: boolean;
}

export const noFeatures: RuntimeFeatures = {
  recursiveReadOnlyMounts: false,
  idmappedMounts: false,
  checkpoints: false,
};

/** What is not said is not there; a text that is no features document says nothing. */
export function parseFeatures(text: string): RuntimeFeatures {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return noFeatures;
  }
  const mountOptions = member(document, "mountOptions");
  return {
    recursiveReadOnlyMounts: Array.isArray(mountOptions) && mountOptions.includes("rro"),
    idmappedMounts: member(document, "linux", "mountExtensions", "idmap", "enabled") === true,
    checkpoints: member(document, "annotations", "org.opencontainers.runc.checkpoint.enabled") === "true",
  };
}

function member(value: unknown, ...names: string[]): unknown {
  let at = value;
  for (const name of names) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}
