// AppArmor as the kernel shows it: whether it is on, and which profiles are loaded.
import { readFileSync } from "node:fs";
import { errnoOf, wrapError } from "../base/errors.ts";

const enabledFile = "/sys/module/apparmor/parameters/enabled";
/** Of securityfs; shows the profiles of the reader's own AppArmor namespace. */
const profilesFile = "/sys/kernel/security/apparmor/profiles";

/** True where the kernel confines by AppArmor. Not an error where it does not. */
export function isApparmorEnabled(): boolean {
  return readOptional(enabledFile)?.startsWith("Y") === true;
}

/**
 * Names of the loaded profiles; undefined where securityfs is not mounted, or not for us (a runtime inside a container).
 * @throws CricketError when the list is there and cannot be read
 */
export function loadedApparmorProfiles(): ReadonlySet<string> | undefined {
  const text = readOptional(profilesFile);
  return text === undefined ? undefined : parseApparmorProfiles(text);
}

/** Lines "name (mode)"; a name may hold blanks and parentheses itself. */
export function parseApparmorProfiles(text: string): ReadonlySet<string> {
  const lines = text.split("\n").filter((line) => / \([a-z]+\)$/.test(line));
  return new Set(lines.map((line) => line.slice(0, line.lastIndexOf(" ("))));
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "ENOENT" || errno === "EACCES") return undefined;
    throw wrapError(`read ${path}`, error);
  }
}
