// What the probe in a container says, and how it is read from the container's log.
import { readFileSync } from "node:fs";

/** What the probe's `report` says; see test/support/probe/report.c. */
export interface Report {
  pid: number;
  env: string[];
  uids: number[];
  gids: number[];
  groups: number[];
  capabilities: Record<"effective" | "permitted" | "inheritable" | "bounding" | "ambient", string>;
  descriptors: { fd: number; type: string; device: string; tty: boolean }[];
  limits: [string, string][];
  cwd: string;
  hostname: string;
  umask: string;
  noNewPrivs: number;
  mounts: string;
  status: string;
  cgroup: string;
  oomScoreAdj: string;
  parentDeathSignal: number;
  session: number;
  paths: Record<
    string,
    {
      error?: string;
      type: string;
      mode: string;
      uid: number;
      gid: number;
      device: string;
      target?: string;
      writable: boolean;
      content?: string;
    }
  >;
}

/** The content of a CRI log: lines tagged P go on in the next. */
export function readLog(path: string): string {
  let text = "";
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (line === "") continue;
    const [, , tag] = line.split(" ", 3);
    const content = line.slice(line.indexOf(` ${tag} `) + 3);
    text += tag === "P" ? content : `${content}\n`;
  }
  return text;
}
