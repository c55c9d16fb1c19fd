// The static programs as sealed copies in memory. What runs in or near a container is such a copy: its /proc/self/exe
// leads to something nobody can write, so an escape cannot replace the runtime's own files (CVE-2019-5736).
import { openSync, closeSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { close } from "./files.ts";
import { createSealedMemfd } from "./memfd.ts";
import { SpareHelper } from "./spare-helper.ts";
import { wrapError } from "../base/errors.ts";

/** Name of the static program that runs launches, and so of its copy in memory. */
export const initProgram = "cricket-init";

/** Loaded once when the daemon starts. */
export class HelperBinary {
  /** cricket-init: executor of launch programs, monitor and exec relay. */
  readonly initFd: number;
  /** pause: for an `execFd` step. */
  readonly pauseFd: number;
  /** The host's /dev/null, open for reading and writing. */
  readonly nullFd: number;
  #emptyNamespace: number | undefined;
  #spare: SpareHelper | undefined;

  private constructor(initFd: number, pauseFd: number, nullFd: number) {
    this.initFd = initFd;
    this.pauseFd = pauseFd;
    this.nullFd = nullFd;
  }

  /** Reads `cricket-init` and `pause` from `buildDir` (the Makefile's output). Throws CricketError. */
  static load(buildDir: string): HelperBinary {
    const open: number[] = [];
    try {
      for (const name of [initProgram, "pause"])
        open.push(createSealedMemfd(name, readFileSync(join(buildDir, name))));
      open.push(openSync("/dev/null", "r+"));
      return new HelperBinary(open[0]!, open[1]!, open[2]!);
    } catch (error) {
      for (const fd of open) close(fd);
      throw wrapError(`load the static programs from ${buildDir}`, error);
    }
  }

  /** The mount namespace that launches begin in; undefined: in a copy of the host's. */
  get emptyNamespace(): number | undefined {
    return this.#emptyNamespace;
  }

  /** Takes the descriptor of `makeEmptyNamespace` over. */
  beginIn(emptyNamespace: number): void {
    this.#emptyNamespace = emptyNamespace;
  }

  get spare(): SpareHelper | undefined {
    return this.#spare;
  }

  /** Starts the helper of the next launch beforehand, from now on. */
  keepSpare(): void {
    this.#spare ??= new SpareHelper(this);
  }

  /** Running processes keep their own reference. */
  close(): void {
    this.#spare?.close();
    if (this.#emptyNamespace !== undefined) close(this.#emptyNamespace);
    close(this.initFd);
    close(this.pauseFd);
    closeSync(this.nullFd);
  }
}
