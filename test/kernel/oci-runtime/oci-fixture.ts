// A bundle with busybox, and the command line run on it as an engine would.
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringifySpec } from "../../../src/oci/parse-spec.ts";
import { defaultSpec } from "../../../src/oci/runtime/default-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";

const main = join(import.meta.dirname, "../../../src/main.ts");
const applets =
  "sh cat echo false hostname id ls mkdir mount ps readlink sleep stat stty touch true tty env".split(" ");

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

export class OciFixture {
  readonly directory = mkdtempSync(join(tmpdir(), "cricket-oci-"));
  readonly bundle = join(this.directory, "bundle");
  readonly #ids = new Set<string>();
  #count = 0;

  constructor() {
    // Root of a user namespace is somebody else on the way to the rootfs.
    chmodSync(this.directory, 0o755);
    const bin = join(this.bundle, "rootfs/bin");
    mkdirSync(bin, { recursive: true });
    // That root could not make these either.
    for (const name of ["dev", "proc", "sys"]) mkdirSync(join(this.bundle, "rootfs", name));
    cpSync("/bin/busybox", join(bin, "busybox"), { dereference: true });
    for (const applet of applets) symlinkSync("busybox", join(bin, applet));
  }

  /** An id nobody else uses: cgroups have names that all tests share. */
  newId(): string {
    const id = `t${process.pid}-${this.#count++}`;
    this.#ids.add(id);
    return id;
  }

  /** The default spec, without a terminal, changed by `change`. */
  write(args: string[], change: (spec: Spec) => void = () => {}): void {
    const spec = defaultSpec();
    if (spec.process !== undefined) spec.process = { ...spec.process, terminal: false, args };
    change(spec);
    writeFileSync(join(this.bundle, "config.json"), stringifySpec(spec));
  }

  /** For node itself. */
  argv(...words: string[]): string[] {
    const state = join(this.directory, "state");
    return ["--import", import.meta.resolve("tsx"), main, "oci", "--root", state, ...words];
  }

  start(...words: string[]): ChildProcess {
    const stdio = ["pipe", "pipe", "pipe"] as const;
    return spawn(process.execPath, this.argv(...words), { cwd: this.bundle, stdio: [...stdio] });
  }

  /** `input` undefined: standard input is empty. Ends with the command itself, also when a container keeps its output. */
  run(words: string[], input = ""): Promise<Ended> {
    const child = this.start(...words);
    const ended: Ended = { status: null, stdout: "", stderr: "" };
    child.stdout?.on("data", (chunk: Buffer) => (ended.stdout += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (ended.stderr += chunk.toString()));
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (status) => {
        // What it wrote last is in the pipe already.
        setTimeout(() => {
          child.stdout?.destroy();
          child.stderr?.destroy();
          resolve({ ...ended, status });
        }, 20);
      });
    });
  }

  async close(): Promise<void> {
    for (const id of this.#ids) await this.run(["delete", "--force", id]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
