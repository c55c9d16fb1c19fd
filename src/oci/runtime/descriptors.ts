// Descriptors of a launch, closed together once the helper has its own copies.
import { openSync, readlinkSync } from "node:fs";
import { CricketError, errnoOf, wrapError } from "../../base/errors.ts";
import { close, O_CLOEXEC, O_RDONLY } from "../../linux/files.ts";
import type { NamespaceJoin } from "../container-launch.ts";
import type { Linux } from "../linux-spec.ts";

export class LaunchDescriptors implements Disposable {
  readonly #items: Disposable[] = [];

  add(fd: number): number {
    this.#items.push({ [Symbol.dispose]: () => close(fd) });
    return fd;
  }

  use<T extends Disposable>(item: T): T {
    this.#items.push(item);
    return item;
  }

  [Symbol.dispose](): void {
    for (const item of this.#items.splice(0).reverse()) item[Symbol.dispose]();
  }
}

/** An nsfs descriptor for every namespace that the spec names by path; setns(2) checks that it is of the type. */
export function openNamespaces(linux: Linux | undefined, descriptors: LaunchDescriptors): NamespaceJoin[] {
  const joins: NamespaceJoin[] = [];
  for (const { type, path } of linux?.namespaces ?? []) {
    if (path === undefined) continue;
    try {
      joins.push({ fd: descriptors.add(openSync(path, O_RDONLY | O_CLOEXEC)), types: [type] });
    } catch (error) {
      throw wrapError(`linux.namespaces: ${type}`, error);
    }
  }
  // The user namespace last: the runtime may enter all of them, its root only those that it owns.
  return joins.sort((a, b) => Number(a.types.includes("user")) - Number(b.types.includes("user")));
}

/**
 * Descriptors 3 and on that the caller passed, as `--preserve-fds` and LISTEN_FDS count them. Node takes the lowest ones
 * that are free for itself, the first of them for its event loop: who finds that one has been passed fewer.
 */
export function keptDescriptors(count: number): number[] {
  const kept: number[] = [];
  for (let fd = 3; fd < 3 + count; fd++) {
    const target = targetOf(fd);
    if (target === undefined || /^anon_inode:\[(?:eventpoll|io_uring)\]$/.test(target))
      throw new CricketError("invalid-argument", `--preserve-fds: descriptor ${fd} is not open`);
    kept.push(fd);
  }
  return kept;
}

function targetOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
