// What `cricket explain` prints of a container that another OCI runtime has made.
import { join } from "node:path";
import type { Paths } from "../config/paths.ts";
import {
  createArgs,
  invocationFiles,
  verbArgs,
  type RuntimeCommand,
} from "../oci/external/runtime-command.ts";
import type { Container } from "./container-store.ts";

export function explainExternal({ record }: Container, command: RuntimeCommand, paths: Paths): string {
  const { id, config } = record;
  const files = invocationFiles(paths.containerDir(id));
  const steps = [
    [
      `mount the image's layers and the container's own on ${join(paths.hostMounts(id), "rootfs")}`,
      "root.path",
    ],
    [`write ${paths.containerSpec(id)}`, "the launch in detail: namespaces, mounts, process"],
    [
      createArgs(command, { id, files, terminal: config.tty }).join(" "),
      "by the monitor, which adopts the process",
    ],
    [verbArgs(command, files.log, ["start", id]).join(" "), "StartContainer"],
  ];
  const lines = steps.map(
    ([what, why], index) => `${String(index + 1).padStart(3)}  ${what}\n       ${why}\n`,
  );
  return `made by the runtime handler ${command.name}, not by a launch program\n${lines.join("")}`;
}
