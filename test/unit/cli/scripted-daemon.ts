// A daemon with scripted answers on a real socket, and a terminal that remembers what was written.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { Log } from "../../../src/base/log.ts";
import { Interrupted, type Surroundings } from "../../../src/cli/command.ts";
import { runCli } from "../../../src/cli/run-cli.ts";
import { CriServer, type Handlers } from "../../../src/cri/server.ts";
import { cricketService, imageService, runtimeService } from "../../../cri-api/services.ts";

type Runtime = Partial<Handlers<typeof runtimeService>>;
type Images = Partial<Handlers<typeof imageService>>;
type Cricket = Partial<Handlers<typeof cricketService>>;

export interface Script {
  runtime?: Runtime;
  image?: Images;
  cricket?: Cricket;
}

export interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

export interface ScriptedDaemon {
  directory: string;
  /** Runs a command line against the daemon. */
  cli: (argv: readonly string[], change?: Partial<Surroundings>) => Promise<Ended>;
  close: () => Promise<void>;
}

export async function scriptedDaemon(script: Script): Promise<ScriptedDaemon> {
  const directory = mkdtempSync(join(tmpdir(), "cricket-cli-"));
  const socketPath = join(directory, "run", "c.sock");
  const server = new CriServer({ socketPath, log: new Log({ write: () => {} }) });
  server.addService(runtimeService, (script.runtime ?? {}) as Handlers<typeof runtimeService>);
  server.addService(imageService, (script.image ?? {}) as Handlers<typeof imageService>);
  server.addService(cricketService, (script.cricket ?? {}) as Handlers<typeof cricketService>);
  await server.listen();
  return {
    directory,
    cli: (argv, change) => runWith(argv, { env: { CRICKET_SOCKET: socketPath }, ...change }),
    close: async () => {
      await server.close(1000);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Runs a command line and remembers what it wrote. */
export async function runWith(argv: readonly string[], change: Partial<Surroundings>): Promise<Ended> {
  const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const remember = (list: Buffer[]): Writable =>
    new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        list.push(chunk);
        done();
      },
    });
  const status = await runCli(argv, {
    stdout: (data) => void written.stdout.push(Buffer.from(data)),
    stderr: (data) => void written.stderr.push(Buffer.from(data)),
    streams: {
      stdin: Readable.from([]),
      stdout: remember(written.stdout),
      stderr: remember(written.stderr),
    },
    columns: undefined,
    env: {},
    interrupted: new AbortController().signal,
    killed: new AbortController().signal,
    ...change,
  });
  return {
    status,
    stdout: Buffer.concat(written.stdout).toString(),
    stderr: Buffer.concat(written.stderr).toString(),
  };
}

/** A Ctrl-C that comes when `abort` is called. */
export function interruption(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort(new Interrupted("SIGINT")) };
}
