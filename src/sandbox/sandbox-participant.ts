// Those beside the runtime who have a say in the life of sandboxes, such as NRI plugins. What does not answer with a
// promise is not waited for: with nobody there, none of this costs anything.
import type { PodResources } from "./update-sandbox-resources.ts";
import type { Sandbox } from "./sandbox-store.ts";

export interface SandboxParticipant {
  /** Everything of the sandbox is there, but nobody sees it yet. A rejection refuses it. */
  beforeRun(sandbox: Sandbox, ips: readonly string[]): Promise<void> | undefined;
  /** Of a sandbox that was asked about but did not come to be. */
  runFailed(sandbox: Sandbox): void;
  /** A rejection refuses the update. */
  beforeUpdate(sandbox: Sandbox, change: PodResources): Promise<void> | undefined;
  afterUpdate(sandbox: Sandbox): void;
  /** Its containers have ended, its namespaces are still there. Never rejects: a stop cannot be refused. */
  beforeRelease(sandbox: Sandbox): Promise<void> | undefined;
}
