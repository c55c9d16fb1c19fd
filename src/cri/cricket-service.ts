// cricket.v1.Cricket: what the command line needs beyond the CRI.
import type { cricketService } from "../../cri-api/services.ts";
import { explainContainer } from "./rpc/explain-container.ts";
import { pullImageProgress } from "./rpc/pull-image-progress.ts";
import { startAttached } from "./rpc/start-attached.ts";
import { waitContainer } from "./rpc/wait-container.ts";
import type { Handlers } from "./server.ts";
import type { UseCases } from "./services.ts";

export function cricketHandlers({
  images,
  containers,
  streaming,
}: UseCases): Handlers<typeof cricketService> {
  return {
    PullImage: (request, call) => pullImageProgress(images, request, call),
    WaitContainer: (request, call) => waitContainer(containers, request, call),
    StartAttached: (request) => startAttached(streaming, request),
    ExplainContainer: (request) => explainContainer(containers, request),
  };
}
