import type { v1 } from "../../../cri-api/runtime/v1/api.js";
import type { Call } from "../call.ts";
import { eventToWire } from "../convert/event.ts";
import type { ContainerUseCases, EventUseCases } from "../services.ts";

/** Ends only with an error: a kubelet that sees the stream end gives events up after a few attempts. */
export async function* getContainerEvents(
  parts: { events: EventUseCases; containers: ContainerUseCases },
  call: Call,
): AsyncGenerator<v1.ContainerEventResponseSent, never> {
  using subscription = parts.events.subscribe();
  for (;;)
    for (const event of await subscription.take(call.signal)) yield eventToWire(event, parts.containers);
}
