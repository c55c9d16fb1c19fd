// Classes of block I/O: named limits of block devices, from a file of the operator's. It is read when a container asks for
// a class, and again when it has changed; which devices its paths mean is found out each time.
import { readFileSync, statSync } from "node:fs";
import { CricketError, failedPrecondition, invalidArgument, messageOf } from "../../base/errors.ts";
import type { DeviceNumber } from "../../linux/cgroup/cgroup-resources.ts";
import type { BlockIoResources } from "../../oci/linux-spec.ts";
import { parseBlockIoConfig, type BlockIoParameters, type ThrottleName } from "./block-io-config.ts";
import { findBlockDevices } from "./find-devices.ts";

const maxConfigBytes = 4 * 1024 * 1024;

type ThrottleList = Exclude<keyof BlockIoResources, "weight" | "leafWeight" | "weightDevice">;

const lists: Readonly<Record<ThrottleName, ThrottleList>> = {
  throttleReadBps: "throttleReadBpsDevice",
  throttleWriteBps: "throttleWriteBpsDevice",
  throttleReadIOPS: "throttleReadIOPSDevice",
  throttleWriteIOPS: "throttleWriteIOPSDevice",
};

export class BlockIoClasses {
  readonly #configFile: string;
  #classes = new Map<string, BlockIoParameters[]>();
  #fingerprint: string | undefined;

  /** `configFile`: "" where the node has no classes. */
  constructor(configFile: string) {
    this.#configFile = configFile;
  }

  /** @throws CricketError failed-precondition for a class that there is not, or a file that cannot be used */
  async resolve(name: string): Promise<BlockIoResources> {
    if (this.#configFile === "")
      throw failedPrecondition(`block I/O class ${name}: there are none, as blockio.config_file is not set`);
    await this.#refresh();
    const parameters = this.#classes.get(name);
    if (parameters === undefined)
      throw failedPrecondition(`block I/O class ${name} is not in ${this.#configFile}`);
    return limitsOf(parameters);
  }

  async #refresh(): Promise<void> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(this.#configFile, { bigint: true });
      const fingerprint = [dev, ino, size, mtimeNs, ctimeNs].join(" ");
      if (fingerprint === this.#fingerprint) return;
      if (size > maxConfigBytes) throw invalidArgument(`it has ${size} bytes: ${maxConfigBytes} at most`);
      const { parse } = await import("yaml");
      this.#classes = parseBlockIoConfig(
        parse(readFileSync(this.#configFile, "utf8"), { maxAliasCount: 100 }),
      );
      this.#fingerprint = fingerprint;
    } catch (error) {
      const message = `blockio.config_file ${this.#configFile}: ${messageOf(error)}`;
      throw new CricketError("failed-precondition", message, { cause: error });
    }
  }
}

/** Of two entries for one device the later one counts. */
function limitsOf(parameters: readonly BlockIoParameters[]): BlockIoResources {
  const result: BlockIoResources = {};
  const weights = new Map<string, DeviceNumber & { weight: number }>();
  const rates = new Map<ThrottleList, Map<string, DeviceNumber & { rate: bigint }>>();
  for (const { devices, weight, throttles } of parameters) {
    if (devices === undefined && weight !== undefined) result.weight = weight;
    for (const device of devices === undefined ? [] : findBlockDevices(devices)) {
      const key = `${device.major}:${device.minor}`;
      if (weight !== undefined) weights.set(key, { ...device, weight });
      for (const [name, rate] of Object.entries(throttles)) {
        const list = lists[name as ThrottleName];
        rates.set(list, (rates.get(list) ?? new Map()).set(key, { ...device, rate }));
      }
    }
  }
  if (weights.size > 0) result.weightDevice = [...weights.values()];
  for (const [list, entries] of rates) result[list] = [...entries.values()];
  return result;
}
