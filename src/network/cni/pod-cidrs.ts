// The pod address ranges the cluster gave this node (UpdateRuntimeConfig). The kubelet tells them once, so they are
// kept on disk.
import { readFileSync } from "node:fs";
import { writeFileAtomic } from "../../base/atomic-file.ts";
import { errnoOf } from "../../base/errors.ts";

export class PodCidrs {
  readonly #path: string;
  #current: readonly string[];

  constructor(path: string) {
    this.#path = path;
    this.#current = parse(readOptional(path));
  }

  get current(): readonly string[] {
    return this.#current;
  }

  /** One range, or one of each family separated by a comma; checked by the caller. */
  set(text: string): void {
    writeFileAtomic(this.#path, `${text}\n`, { durable: true });
    this.#current = parse(text);
  }
}

function parse(text: string): string[] {
  return text
    .split(",")
    .map((cidr) => cidr.trim())
    .filter((cidr) => cidr !== "");
}

function readOptional(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "";
    throw error;
  }
}
