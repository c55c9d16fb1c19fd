// What the daemon does while a container waits at its sync step: network devices are moved, then the hooks of the
// runtime's own namespaces run.
import type { Paths } from "../config/paths.ts";
import { MovedNetDevices } from "../oci/runtime/net-devices.ts";
import type { Container } from "./container-store.ts";
import { runCreateHooks } from "./oci-hooks.ts";

export class LaunchSync implements Disposable {
  readonly #container: Container;
  readonly #paths: Paths;
  #devices: MovedNetDevices | undefined;

  constructor(container: Container, paths: Paths) {
    this.#container = container;
    this.#paths = paths;
  }

  /** `sockets`: a route socket of the pod's network namespace, where there are devices to move. */
  async run(pid: number, [socket]: readonly number[]): Promise<void> {
    if (socket !== undefined) {
      // The namespace is the pod's: a container that is started again finds its devices there.
      this.#devices = new MovedNetDevices({ keepsPresent: true });
      await this.#devices.move(this.#container.bundle?.spec.linux?.netDevices ?? {}, pid, socket);
    }
    await runCreateHooks(this.#container, pid, this.#paths);
  }

  /** Gives the host its devices back. */
  async undo(): Promise<void> {
    await this.#devices?.moveBack();
  }

  [Symbol.dispose](): void {
    this.#devices?.[Symbol.dispose]();
  }
}
