// What a container executes: arguments, environment and working directory, from the CRI and the image.
import { posix } from "node:path";
import { CricketError, invalidArgument } from "../base/errors.ts";
import type { ImageConfig } from "../image/image-config.ts";
import type { ContainerSpecInput } from "./build-spec.ts";
import type { ContainerConfig } from "./container-config.ts";

/**
 * `command` takes the place of the image's entrypoint and drops its cmd, `args` take the place of the cmd
 * (CRI ContainerConfig.command).
 */
export function buildArgs(config: ContainerConfig, image: ImageConfig): string[] {
  const entrypoint = config.command.length > 0 ? config.command : image.entrypoint;
  const imageCmd = config.command.length > 0 ? [] : image.cmd;
  const args = [...entrypoint, ...(config.args.length > 0 ? config.args : imageCmd)];
  const [program] = args;
  if (program === undefined || program === "")
    throw invalidArgument("config.command is empty, and the image has neither entrypoint nor cmd");
  const withNul = args.findIndex((arg) => arg.includes("\0"));
  if (withNul !== -1) throw invalidArgument(`argument ${withNul} of the command has a NUL byte`);
  return args;
}

/** The CRI's, else the image's, else "/"; the result is absolute and has no "..". */
export function buildCwd(config: ContainerConfig, image: ImageConfig): string {
  if (config.workingDir !== "" && !config.workingDir.startsWith("/"))
    throw invalidArgument(`config.working_dir is ${JSON.stringify(config.workingDir)}: not an absolute path`);
  const cwd = posix.join("/", config.workingDir === "" ? image.workingDir : config.workingDir);
  if (cwd.includes("\0")) throw invalidArgument("the working directory has a NUL byte");
  return cwd.length > 1 && cwd.endsWith("/") ? cwd.slice(0, -1) : cwd;
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Defaults < image < CRI; a variable stays where it first stood. HOME is the user's, unless somebody set it. */
export function buildEnv({ config, image, user, sandbox, host }: ContainerSpecInput): Uint8Array[] {
  const lines = new Map<string, Uint8Array>();
  const add = (line: string): void => {
    const equals = line.indexOf("=");
    // A line without "=" is not a variable; images built by hand have some.
    if (equals > 0) lines.set(line.slice(0, equals), Buffer.from(line));
  };
  add(defaultPath);
  add(`HOSTNAME=${sandbox.hostname}`);
  if (config.tty) add("TERM=xterm");
  for (const line of host.defaultEnv) add(line);
  for (const line of image.env) {
    if (line.includes("\0")) throw badImage("the image has a NUL byte in its environment");
    add(line);
  }
  for (const [index, { key, value }] of config.envs.entries())
    lines.set(checkKey(key, index), join(key, value, index));
  if (!lines.has("HOME")) add(`HOME=${user.home}`);
  return [...lines.values()];
}

function badImage(message: string): CricketError {
  return new CricketError("failed-precondition", message);
}

function checkKey(key: string, index: number): string {
  if (key !== "" && !/[=\0]/.test(key)) return key;
  throw invalidArgument(`config.envs[${index}].key is ${JSON.stringify(key)}: not a variable name`);
}

function join(key: string, value: Uint8Array, index: number): Uint8Array {
  if (value.includes(0)) throw invalidArgument(`config.envs[${index}].value has a NUL byte`);
  return Buffer.concat([Buffer.from(`${key}=`), value]);
}
