// All services of the daemon's socket in one server.
import { cricketService, imageService, runtimeService } from "../../cri-api/services.ts";
import { cricketHandlers } from "./cricket-service.ts";
import { imageHandlers } from "./image-service.ts";
import { runtimeHandlers } from "./runtime-service.ts";
import { CriServer, type CriServerOptions } from "./server.ts";
import type { UseCases } from "./services.ts";

/**
 * Serves the CRI and cricket's own service on the socket. Call it when everything has been recovered: the kubelet
 * takes what it sees first for the truth.
 * @throws CricketError failed-precondition when another daemon listens there
 */
export async function serveCri(useCases: UseCases, options: CriServerOptions): Promise<CriServer> {
  const server = new CriServer(options);
  server.addService(runtimeService, runtimeHandlers(useCases));
  server.addService(imageService, imageHandlers(useCases));
  server.addService(cricketService, cricketHandlers(useCases));
  await server.listen();
  return server;
}
