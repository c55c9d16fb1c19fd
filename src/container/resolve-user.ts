// Who a container runs as: what the CRI asks for, else the image's USER, looked up in the image's own passwd and group
// files. Those files are the image's, so they are read through the rootfs descriptor, in bounded lines, and only if
// they are regular files (CVE-2024-5154, CVE-2025-4437).
import { CricketError, invalidArgument } from "../base/errors.ts";
import { AccountFile } from "../linux/account-file.ts";
import type { ContainerSecurity } from "./container-config.ts";

export interface ResolvedUser {
  uid: number;
  gid: number;
  /** In the order: primary group, groups of the image, groups the CRI asks for; no group twice. */
  additionalGids: number[];
  /** Home directory of the passwd file, "/" for a user it does not know. */
  home: string;
}

type RunAs = Pick<
  ContainerSecurity,
  "runAsUser" | "runAsGroup" | "runAsUsername" | "supplementalGroups" | "supplementalGroupsPolicy"
>;

/** A user or group as it was written: a number, or a name to look up. */
type Account = { id: number } | { name: string };

/** Ids beyond 2^31 - 1 would turn into others, 0 among them, on their way to the kernel (CVE-2024-40635). */
const maxId = 2_147_483_647;

/**
 * @param rootFd the container's root directory or its detached mount
 * @param imageUser User of the image config: "", "uid", "name", "uid:gid", "name:group" and mixtures
 * @throws CricketError invalid-argument naming the field, or failed-precondition where the image's USER is at fault
 */
export function resolveUser(rootFd: number, runAs: RunAs, imageUser: string): ResolvedUser {
  const hasUser = runAs.runAsUser !== undefined || runAs.runAsUsername !== "";
  if (runAs.runAsGroup !== undefined && !hasUser)
    throw invalidArgument(
      "config.linux.security_context.run_as_group is set without run_as_user or run_as_username",
    );
  const asked = askedUser(runAs, imageUser);
  using passwd = AccountFile.open(rootFd, "/etc/passwd");
  const entry = findUser(passwd, asked.user);
  const uid = "id" in asked.user ? asked.user.id : requireUser(entry, asked.user.name, asked.field);
  using groups = AccountFile.open(rootFd, "/etc/group");
  const gid = primaryGroup(runAs, asked, groups) ?? entry?.gid ?? 0;
  const memberships =
    runAs.supplementalGroupsPolicy === "merge" && entry !== undefined ? groupsOf(groups, entry.name) : [];
  const supplemental = runAs.supplementalGroups.map((id) =>
    checkId(id, "config.linux.security_context.supplemental_groups"),
  );
  return {
    uid,
    gid,
    // The primary group is in the list too: else a set-group-ID program could drop it (CVE-2023-25173).
    additionalGids: [...new Set([gid, ...memberships, ...supplemental])],
    home: entry?.home ?? "/",
  };
}

interface AskedUser {
  user: Account;
  group?: Account;
  /** Where the user comes from, for errors. */
  field: string;
}

function askedUser(runAs: RunAs, imageUser: string): AskedUser {
  const { runAsUser, runAsUsername } = runAs;
  const context = "config.linux.security_context";
  if (runAsUser !== undefined)
    return { user: { id: checkId(runAsUser, `${context}.run_as_user`) }, field: `${context}.run_as_user` };
  const field = `${context}.run_as_username`;
  if (runAsUsername !== "") return { user: { name: checkName(runAsUsername, field) }, field };
  return parseImageUser(imageUser);
}

/** The whole of USER must make sense: what comes after the colon is never ignored (CVE-2026-30892). */
function parseImageUser(imageUser: string): AskedUser {
  const field = "the image's user";
  const [user = "", group, ...rest] = imageUser.split(":");
  if (rest.length > 0 || (group !== undefined && group === ""))
    throw badImageUser(imageUser, "not of the form user[:group]");
  return {
    user: user === "" ? { id: 0 } : parseAccount(user, imageUser),
    ...(group === undefined ? {} : { group: parseAccount(group, imageUser) }),
    field,
  };
}

function parseAccount(text: string, imageUser: string): Account {
  if (/^\d+$/.test(text)) {
    const id = Number(text);
    if (id > maxId) throw badImageUser(imageUser, `${text} is not in 0..${maxId}`);
    return { id };
  }
  // A sign, a blank or a hexadecimal number would become some other id in a more forgiving parser.
  if (/^[-+\s]|[\s\0/]/.test(text)) throw badImageUser(imageUser, `${JSON.stringify(text)} is not a name`);
  return { name: text };
}

function badImageUser(imageUser: string, why: string): CricketError {
  return new CricketError("failed-precondition", `the image's user ${JSON.stringify(imageUser)}: ${why}`);
}

function checkId(id: number, field: string): number {
  if (Number.isInteger(id) && id >= 0 && id <= maxId) return id;
  throw invalidArgument(`${field} is ${id}: not in 0..${maxId}`);
}

// A newline in a name would be a new line of passwd to whoever writes it there (CVE-2022-4318).
function checkName(name: string, field: string): string {
  if (/[\n\r\0:]/.test(name)) throw invalidArgument(`${field} is ${JSON.stringify(name)}: not a user name`);
  return name;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** passwd(5): name:password:UID:GID:GECOS:directory:shell. Lines that are not of this form are passed over. */
function findUser(passwd: AccountFile, user: Account): PasswdEntry | undefined {
  return passwd.find((fields) => {
    const [name = "", , uidText = "", gidText = "", , home = ""] = fields;
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    if (uid === undefined || gid === undefined) return undefined;
    const isIt = "id" in user ? uid === user.id : name === user.name;
    return isIt ? { name, uid, gid, home: home.startsWith("/") ? home : "/" } : undefined;
  });
}

function requireUser(entry: PasswdEntry | undefined, name: string, field: string): number {
  if (entry !== undefined) return entry.uid;
  throw unknown(`${field} is ${JSON.stringify(name)}: the image's /etc/passwd has no such user`, field);
}

function primaryGroup(runAs: RunAs, asked: AskedUser, groups: AccountFile): number | undefined {
  if (runAs.runAsGroup !== undefined)
    return checkId(runAs.runAsGroup, "config.linux.security_context.run_as_group");
  if (asked.group === undefined) return undefined;
  if ("id" in asked.group) return asked.group.id;
  const { name } = asked.group;
  // group(5): name:password:GID:members
  const gid = groups.find(([group, , gidText = ""]) => (group === name ? parseId(gidText) : undefined));
  if (gid === undefined)
    throw unknown(
      `the image's user names group ${JSON.stringify(name)}: its /etc/group has no such group`,
      asked.field,
    );
  return gid;
}

function unknown(message: string, field: string): CricketError {
  return new CricketError(field.startsWith("config.") ? "invalid-argument" : "failed-precondition", message);
}

function groupsOf(groups: AccountFile, user: string): number[] {
  const gids: number[] = [];
  groups.find(([, , gidText = "", members = ""]) => {
    const gid = parseId(gidText);
    if (gid !== undefined && members.split(",").includes(user)) gids.push(gid);
    return undefined;
  });
  return gids;
}

function parseId(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) && Number(text) <= maxId ? Number(text) : undefined;
}
