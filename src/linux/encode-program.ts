// A launch program and the options of its host as the bytes of pause/program.h.
import { encodeSteps } from "./encode-steps.ts";
import type { Descriptor, LaunchProgram } from "./launch-program.ts";
import { ProgramWriter } from "./program-writer.ts";
import { CricketError } from "../base/errors.ts";

export const programMagic = 0x50524b43;
export const programVersion = 2;
export const maxProgramBytes = 8 << 20;
export const maxLogLineBytesLimit = 1 << 20;

const hosts = { spawn: 1, monitor: 2, exec: 3, detached: 4 } as const;
const headerBytes = 36;
const noDescriptor = 0xffffffff;
const monitorFlags = { stdin: 1, stdinOnce: 2 } as const;
const execFlags = { stdin: 1, streaming: 2 } as const;
export const adoptFlags = { adopts: 4, console: 8 } as const;

/**
 * The program executes another OCI runtime, which makes the process and ends; the host takes that over (pause/adopt.c).
 * The runtime's working directory is the host's: its pid file is `pid` there, its console socket `console.sock`.
 */
export interface Adoption {
  /** The process has a terminal. */
  console: boolean;
}

/** In a directory of its own, which must stay open until the host has been started. */
export interface ExecAdoption extends Adoption {
  directory: Descriptor;
  /** How long the runtime may take until it has left the process. */
  timeoutMs: number;
}

export interface MonitorHostOptions {
  containerDir: Descriptor;
  oomEvents?: Descriptor | undefined;
  /** The same file of the cgroup above. */
  oomParentEvents?: Descriptor | undefined;
  killCgroup?: Descriptor | undefined;
  stdin: boolean;
  stdinOnce: boolean;
  maxLogLineBytes: number;
  /** How long an attached client that reads nothing may hold up the container's output. */
  attachStallMs: number;
  /** "" keeps no log. */
  logPath: string;
  adopts?: Adoption | undefined;
  /** The program gets these as 3, 4, ... */
  kept?: readonly Descriptor[] | undefined;
}

export interface ExecHostOptions {
  killCgroup?: Descriptor | undefined;
  stdin: boolean;
  streaming: boolean;
  /** 0: none. */
  timeoutMs: number;
  /** Of each stream; 0: no limit. */
  maxOutputBytes: number;
  adopts?: ExecAdoption | undefined;
}

/** The process is the caller's to wait for: nothing of cricket stays beside it. */
export interface DetachedHostOptions {
  /** stdin, stdout and stderr as they are; the host's /dev/null is replaced by the container's. None for a terminal. */
  stdio?: readonly [Descriptor, Descriptor, Descriptor] | undefined;
  /** A listening unix socket; who connects and sends a state opens the gate. Needed for a `waitGate` step. */
  gate?: Descriptor | undefined;
  /** The program gets these as 3, 4, ... */
  kept: readonly Descriptor[];
}

export type Host =
  | { type: "spawn" }
  | ({ type: "detached" } & DetachedHostOptions)
  | ({ type: "monitor" } & MonitorHostOptions)
  | ({ type: "exec" } & ExecHostOptions);

export interface EncodedProgram {
  bytes: Buffer;
  /** Descriptors of this process, in the order of the table. */
  table: Descriptor[];
}

/**
 * Encodes `program` for `host`. `channel` is the socket over which descriptors come back; it is put into the table.
 * Throws CricketError "invalid-argument" for what cannot be encoded, with the step's number and name.
 */
export function encodeProgram(program: LaunchProgram, host: Host, channel?: Descriptor): EncodedProgram {
  checkShape(program, host);
  const table: Descriptor[] = [];
  const options = new ProgramWriter(table);
  encodeHostOptions(options, host);
  if (channel !== undefined) table.push(channel);
  // The monitor closes what follows as soon as its child has it; the channel is the child's too.
  const hostDescriptors = channel === undefined ? table.length : table.length - 1;
  const steps = new ProgramWriter(table);
  encodeSteps(steps, program);
  const header = encodeHeader({
    length: headerBytes + options.length + steps.length,
    host: hosts[host.type],
    stepCount: program.steps.length,
    tableCount: table.length,
    hostDescriptors,
    channel: channel === undefined ? noDescriptor : table.indexOf(channel),
    optionsLength: options.length,
  });
  return { bytes: Buffer.concat([header, options.bytes(), steps.bytes()]), table };
}

interface Header {
  length: number;
  host: number;
  stepCount: number;
  tableCount: number;
  hostDescriptors: number;
  channel: number;
  optionsLength: number;
}

function encodeHeader(header: Header): Buffer {
  if (header.length > maxProgramBytes)
    throw new CricketError("invalid-argument", `launch program of ${header.length} bytes is too long`);
  const writer = new ProgramWriter([]);
  writer.u32(programMagic);
  writer.u32(programVersion);
  writer.u32(header.length);
  writer.u32(header.host);
  writer.u32(header.stepCount);
  writer.u32(header.tableCount);
  writer.u32(header.hostDescriptors);
  writer.u32(header.channel);
  writer.u32(header.optionsLength);
  return writer.bytes();
}

function encodeHostOptions(writer: ProgramWriter, host: Host): void {
  if (host.type === "monitor") encodeMonitorOptions(writer, host);
  if (host.type === "exec") encodeExecOptions(writer, host);
  if (host.type === "detached") encodeDetachedOptions(writer, host);
}

function encodeMonitorOptions(writer: ProgramWriter, host: MonitorHostOptions): void {
  if (host.maxLogLineBytes < 1 || host.maxLogLineBytes > maxLogLineBytesLimit)
    throw new CricketError(
      "invalid-argument",
      `maxLogLineBytes ${host.maxLogLineBytes} is not in 1..${maxLogLineBytesLimit}`,
    );
  writer.descriptor(host.containerDir);
  writer.descriptor(host.oomEvents);
  writer.descriptor(host.oomParentEvents);
  writer.descriptor(host.killCgroup);
  const input = (host.stdin ? monitorFlags.stdin : 0) | (host.stdinOnce ? monitorFlags.stdinOnce : 0);
  writer.u32(input | flagsOf(host.adopts));
  writer.u32(host.maxLogLineBytes);
  writer.u32(host.attachStallMs);
  writer.text(host.logPath);
  encodeKept(writer, host.kept ?? []);
}

function flagsOf(adopts: Adoption | undefined): number {
  if (adopts === undefined) return 0;
  return adoptFlags.adopts | (adopts.console ? adoptFlags.console : 0);
}

function encodeExecOptions(writer: ProgramWriter, host: ExecHostOptions): void {
  writer.descriptor(host.killCgroup);
  writer.descriptor(host.adopts?.directory);
  const streams = (host.stdin ? execFlags.stdin : 0) | (host.streaming ? execFlags.streaming : 0);
  writer.u32(streams | flagsOf(host.adopts));
  writer.u32(host.timeoutMs);
  writer.u32(host.adopts?.timeoutMs ?? 0);
  writer.u64(BigInt(host.maxOutputBytes));
}

function encodeDetachedOptions(writer: ProgramWriter, host: DetachedHostOptions): void {
  for (const index of [0, 1, 2] as const) writer.descriptor(host.stdio?.[index]);
  writer.descriptor(host.gate);
  encodeKept(writer, host.kept);
}

function encodeKept(writer: ProgramWriter, kept: readonly Descriptor[]): void {
  writer.u32(kept.length);
  for (const fd of kept) writer.descriptor(fd);
}

// What the hosts of pause/ rely on. A program that lacks it would wait for ever or run the container as its own monitor.
function checkShape(program: LaunchProgram, host: Host): void {
  const ops = program.steps.map((step) => step.op);
  const last = ops.at(-1);
  if (last !== "exec" && last !== "execFd") throw shapeError("does not end with exec or execFd");
  if (host.type !== "spawn" && !ops.includes("fork")) throw shapeError(`of a ${host.type} has no fork step`);
  const gated = hasGate(host);
  if (ops.includes("waitGate") !== gated)
    throw shapeError(`of a ${host.type} has ${gated ? "no" : "a"} waitGate step`);
  if (host.type === "spawn" && ops.includes("openPty")) throw shapeError("of a spawn has an openPty step");
  const early = ops.slice(0, ops.indexOf("fork") + 1).find((op) => op === "waitGate" || op === "openPty");
  if (early !== undefined) throw shapeError(`has a ${early} step before its fork`);
}

function hasGate(host: Host): boolean {
  if (host.type === "monitor") return host.adopts === undefined;
  return host.type === "detached" && host.gate !== undefined;
}

function shapeError(what: string): CricketError {
  return new CricketError("invalid-argument", `launch program ${what}`);
}
