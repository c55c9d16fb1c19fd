// Waits for the end of a container, for `cricket run`.
import { CricketError } from "../base/errors.ts";
import type { Container, ContainerStore } from "./container-store.ts";

/** @throws CricketError cancelled when the caller goes away first */
export async function waitContainer(
  id: string,
  signal: AbortSignal,
  store: ContainerStore,
): Promise<Container> {
  const container = store.get(id);
  if (container.state === "exited") return container;
  const cancelled = new CricketError("cancelled", `wait for container ${container.id}: cancelled`);
  if (signal.aborted) throw cancelled;
  let stop: () => void = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(cancelled);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    await Promise.race([container.ended, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return container;
}
