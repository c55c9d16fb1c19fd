// Classes that a container is put into by its annotations or those of its pod, with the keys that all runtimes read.
import type { BlockIoConfig, RdtConfig } from "../../config/config.ts";
import type { LaunchAdjuster, LaunchSubject } from "../../container/container-participant.ts";
import type { LaunchAdjustment } from "../../container/launch-adjustment.ts";
import { BlockIoClasses } from "./block-io-classes.ts";
import { resolveRdtClass } from "./rdt-classes.ts";

/** Undefined leaves the class as it is, "" is none. */
export interface ClassNames {
  blockIo?: string | undefined;
  rdt?: string | undefined;
}

export class ResourceClasses implements LaunchAdjuster {
  readonly #blockIo: BlockIoClasses;
  readonly #rdt: RdtConfig;

  constructor({ blockio, rdt }: { blockio: BlockIoConfig; rdt: RdtConfig }) {
    this.#blockIo = new BlockIoClasses(blockio.configFile);
    this.#rdt = rdt;
  }

  adjustLaunch(subject: LaunchSubject): Promise<readonly LaunchAdjustment[]> | undefined {
    const [blockIo, rdt] = [annotatedClass("blockio", subject), annotatedClass("rdt", subject)];
    return blockIo === undefined && rdt === undefined ? undefined : this.resolve({ blockIo, rdt });
  }

  launchFailed(): void {
    // Nothing was made.
  }

  /** @throws CricketError naming the class that cannot be given */
  async resolve({ blockIo, rdt }: ClassNames): Promise<LaunchAdjustment[]> {
    const adjustments: LaunchAdjustment[] = [];
    if (blockIo !== undefined)
      adjustments.push({
        resources: { blockIO: blockIo === "" ? null : await this.#blockIo.resolve(blockIo) },
      });
    if (rdt === undefined) return adjustments;
    // It takes the place of all that there is.
    adjustments.push({ intelRdt: null });
    if (rdt !== "") adjustments.push({ intelRdt: resolveRdtClass(rdt, this.#rdt.resctrlPath) });
    return adjustments;
  }
}

/** For the container by itself, by its name in the pod, or for all of the pod. */
function annotatedClass(kind: "blockio" | "rdt", { container, sandbox }: LaunchSubject): string | undefined {
  const { annotations, metadata } = container.record.config;
  const ofPod = sandbox.record.config.annotations;
  const prefix = `${kind}.resources.beta.kubernetes.io`;
  return (
    annotations[`io.kubernetes.cri.${kind}-class`] ??
    ofPod[`${prefix}/container.${metadata.name}`] ??
    ofPod[`${prefix}/pod`]
  );
}
