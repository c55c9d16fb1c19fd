// Which AppArmor profile a container runs under, and that it is there: the kernel refuses an unknown one only when the
// container is about to execute, and a profile that was unloaded since must not mean "unconfined".
import { CricketError, failedPrecondition, invalidArgument, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { SingleFlight } from "../base/single-flight.ts";
import { isApparmorEnabled, loadedApparmorProfiles } from "../linux/apparmor.ts";
import { findTool, runTool } from "../linux/run-tool.ts";
import { defaultApparmorProfile, defaultApparmorProfileName } from "./apparmor-profile.ts";
import type { ContainerSecurity } from "./container-config.ts";

/** The kernel's side. */
export interface ApparmorHost {
  readonly isEnabled: boolean;
  /** Undefined: cannot be seen. */
  loadedProfiles(): ReadonlySet<string> | undefined;
  /** Loads a profile, or replaces it. */
  load(text: string): Promise<void>;
}

export interface ApparmorStatus {
  enabled: boolean;
  defaultProfile: string;
  loaded: boolean;
}

const field = "config.linux.security_context.apparmor";

export class Apparmor {
  /** What RuntimeDefault means: the built-in profile, or one that the operator loads. */
  readonly defaultProfile: string;
  readonly #host: ApparmorHost;
  readonly #loads = new SingleFlight<void>();

  constructor(defaultProfile: string, host: ApparmorHost = kernelApparmor()) {
    this.defaultProfile = defaultProfile;
    this.#host = host;
  }

  /**
   * The profile the container gets; undefined for none. RuntimeDefault is loaded here if the kernel lacks it.
   * @throws CricketError failed-precondition for a profile that is not loaded, invalid-argument without AppArmor
   */
  async profileFor({ privileged, apparmor }: ContainerSecurity): Promise<string | undefined> {
    // CRI LinuxContainerSecurityContext.privileged, item 6: no profile is applied.
    if (privileged || apparmor?.type === "unconfined") return undefined;
    if (!this.#host.isEnabled) {
      if (apparmor?.type !== "localhost") return undefined;
      throw invalidArgument(`${field}: AppArmor is not enabled on this host`);
    }
    // None asked for is the default one, as with every runtime of the field.
    const name = apparmor?.type === "localhost" ? apparmor.ref : this.defaultProfile;
    await this.#ensureLoaded(name);
    return name;
  }

  /** Loads the default profile ahead of the first container, which would have to wait for it. */
  async warm(log: Log): Promise<void> {
    if (!this.#host.isEnabled) return;
    try {
      await this.#ensureLoaded(this.defaultProfile);
    } catch (error) {
      log.warn("no AppArmor profile for RuntimeDefault", { error: messageOf(error) });
    }
  }

  status(): ApparmorStatus {
    const enabled = this.#host.isEnabled;
    const loaded = enabled && this.#host.loadedProfiles()?.has(this.defaultProfile) === true;
    return { enabled, defaultProfile: this.defaultProfile, loaded };
  }

  async #ensureLoaded(name: string): Promise<void> {
    const loaded = this.#host.loadedProfiles();
    if (loaded?.has(name) === true) return;
    if (name === defaultApparmorProfileName)
      return this.#loads.run(name, () => this.#host.load(defaultApparmorProfile));
    // Without the list the kernel is asked: it refuses the launch.
    if (loaded !== undefined) throw failedPrecondition(`AppArmor profile ${name} is not loaded`);
  }
}

function kernelApparmor(): ApparmorHost {
  return {
    isEnabled: isApparmorEnabled(),
    loadedProfiles: loadedApparmorProfiles,
    load: async (text) => {
      const parser = findTool("apparmor_parser");
      if (parser === undefined)
        throw failedPrecondition(
          `AppArmor profile ${defaultApparmorProfileName} cannot be loaded: apparmor_parser is not installed`,
        );
      try {
        await runTool(parser, ["--replace", "--skip-cache"], text);
      } catch (error) {
        const message = `load AppArmor profile ${defaultApparmorProfileName}: ${messageOf(error)}`;
        throw new CricketError("failed-precondition", message, { cause: error });
      }
    },
  };
}
