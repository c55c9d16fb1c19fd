// Waits for a container's end, also when the daemon is restarted meanwhile: the container does not notice either.
import { RpcError, type CriClient } from "../../cri-api/client.ts";
import type { v1 } from "../../cri-api/cricket/v1/api.js";

const patienceMs = 60_000;
const pauseMs = 200;

/** @throws RpcError when the daemon stays away for a minute, or the container is gone */
export async function waitForEnd(
  client: CriClient,
  containerId: string,
  signal: AbortSignal,
): Promise<v1.WaitContainerResponse> {
  let lostAtMs: number | undefined;
  for (;;) {
    const askedAtMs = Date.now();
    try {
      return await client.cricket.waitContainer({ containerId }, { signal });
    } catch (error) {
      if (!(error instanceof RpcError) || error.status !== "UNAVAILABLE" || signal.aborted) throw error;
      // A call that lasted was answered by a daemon: count from its end.
      if (lostAtMs === undefined || Date.now() - askedAtMs > pauseMs * 5) lostAtMs = Date.now();
      if (Date.now() - lostAtMs > patienceMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
