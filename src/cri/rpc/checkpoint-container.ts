import { CricketError } from "../../base/errors.ts";
import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import { nonEmpty } from "../convert/field.ts";
import type { ContainerUseCases } from "../services.ts";

/**
 * Refuses, after the checks a client could have failed anyway: the processes of a container hang on pipes of their
 * monitor, and neither the monitor nor the launch can take a process tree up again that was restored from a dump.
 */
export function checkpointContainer(
  containers: ContainerUseCases,
  request: v1.CheckpointContainerRequest,
): never {
  const { record } = containers.get(nonEmpty(request.containerId, "container_id"));
  throw new CricketError(
    "unimplemented",
    `checkpoint container ${record.id}: this runtime cannot restore containers, so it makes no checkpoints`,
  );
}
