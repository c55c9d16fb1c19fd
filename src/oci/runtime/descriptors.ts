// Descriptors of a launch, closed together once the helper has its own copies.
import { closeSync, openSync } from "node:fs";
import { CricketError, wrapError } from "../../base/errors.ts";
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

/** Descriptors 3 and on that the caller passed, as `--preserve-fds` and LISTEN_FDS count them. */
export function keptDescriptors(count: number): number[] {
  const kept = Array.from({ length: count }, (_unused, index) => 3 + index);
  for (const fd of kept) {
    try {
      closeSync(openSync(`/proc/self/fd/${fd}`, O_RDONLY | O_CLOEXEC | 0o10000000));
    } catch {
      throw new CricketError("invalid-argument", `--preserve-fds: descriptor ${fd} is not open`);
    }
  }
  return kept;
}
