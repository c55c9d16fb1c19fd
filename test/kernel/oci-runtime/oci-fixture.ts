// A bundle with busybox, and the command line run on it as an engine would.
import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { stringifySpec } from "../../../src/oci/parse-spec.ts";
import { defaultSpec } from "../../../src/oci/runtime/default-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { cricketProgram } from "../../support/cricket-program.ts";
import { buildDir, buildPrograms, type ProbeReport } from "../../support/launch-fixture.ts";

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
    buildPrograms();
    cpSync(join(buildDir, "probe"), join(bin, "probe"));
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
    return [...cricketProgram(), "oci", "--root", join(this.directory, "state"), ...words];
  }

  /** Any command of cricket, to its end. */
  async cli(env: Record<string, string>, ...words: string[]): Promise<string> {
    const options = { env: { ...process.env, ...env } };
    const { stdout } = await promisify(execFile)(process.execPath, [...cricketProgram(), ...words], options);
    return stdout;
  }

  /** The output of a verb that must succeed. */
  async ok(...words: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(words);
    assert.equal(status, 0, `${words.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** What the container's program writes, run to its end with the default spec as changed. */
  output(args: string[], change?: (spec: Spec) => void): Promise<string> {
    this.write(args, change);
    return this.ok("run", this.newId());
  }

  /** What the probe sees in such a container. */
  async report(change?: (spec: Spec) => void, paths: string[] = []): Promise<ProbeReport> {
    return JSON.parse(await this.output(["probe", "report", ...paths], change)) as ProbeReport;
  }

  /** What a create says that must fail; nothing of the container is left. */
  async refusal(change: (spec: Spec) => void, args = ["true"]): Promise<string> {
    const id = this.newId();
    this.write(args, change);
    const { status, stderr } = await this.run(["create", id]);
    assert.equal(status, 1, stderr);
    assert.match((await this.run(["state", id])).stderr, /does not exist/);
    return stderr;
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
