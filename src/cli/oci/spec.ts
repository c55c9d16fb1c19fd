import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageVersion } from "../package-version.ts";
import { stringifySpec } from "../../oci/parse-spec.ts";
import { defaultSpec } from "../../oci/runtime/default-spec.ts";
import { features } from "../../oci/runtime/features.ts";
import { UsageError } from "../command.ts";
import type { Verb } from "./verb.ts";

export const spec: Verb = {
  operands: "",
  summary: "write a config.json to begin with",
  flags: {
    bundle: { short: "b", takes: "text", value: "DIR", help: "where config.json is written (.)" },
    rootless: { help: "for a user that is not root" },
  },
  arity: [0, 0],
  run({ flags }) {
    const path = join(flags.texts.get("bundle") ?? ".", "config.json");
    if (existsSync(path)) throw new UsageError(`File ${path} exists. Remove it first`);
    const ids = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const text = stringifySpec(defaultSpec(flags.switches.has("rootless") ? ids : undefined), 2);
    writeFileSync(path, `${text}\n`, { mode: 0o666 });
    return Promise.resolve(0);
  },
};

export const featuresVerb: Verb = {
  operands: "",
  summary: "print what this runtime can do",
  flags: {},
  arity: [0, 0],
  run({ print }) {
    print(`${JSON.stringify(features(packageVersion()), null, 2)}\n`);
    return Promise.resolve(0);
  },
};
