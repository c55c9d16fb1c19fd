// What a container sees of its own cgroups.
import { basename } from "node:path";
import type { CgroupLayout } from "../linux/cgroup/layout.ts";
import type { CgroupView } from "./container-launch.ts";

/** `path` as in CgroupManager. */
export function cgroupViewOf(path: string, layout: CgroupLayout): CgroupView {
  if (layout.kind === "v2") return { version: 2 };
  const all = layout.unified === undefined ? layout.v1 : [...layout.v1, layout.unified];
  return {
    version: 1,
    hierarchies: all.map(({ root, controllers, version }) => {
      const name = basename(root);
      const links = version === 1 ? controllers.filter((controller) => controller !== name) : [];
      return { name, path: `${root}${path}`, links };
    }),
  };
}
