// criu(8): where it is, and what it says when it fails.
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, readSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { CricketError, errnoOf, failedPrecondition, wrapError } from "../../base/errors.ts";
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from "../../linux/files.ts";
import { findTool, isExecutable } from "../../linux/run-tool.ts";
import type { CriuPlaces } from "./criu-request.ts";
import { CriuFailure } from "./criu-session.ts";

/** In $PATH of the caller, or in the usual places. */
export function tryFindCriu(path = process.env["PATH"] ?? ""): string | undefined {
  const inPath = path
    .split(delimiter)
    .filter(isAbsolute)
    .map((directory) => join(directory, "criu"))
    .find(isExecutable);
  return inPath ?? findTool("criu");
}

/** @throws CricketError failed-precondition naming the package */
export function findCriu(path?: string): string {
  const found = tryFindCriu(path);
  if (found === undefined)
    throw failedPrecondition("criu is not installed: the package criu has it, and $PATH is looked through");
  return found;
}

/**
 * A directory of images or logs: made for root alone where it is missing, and never one that a link leads to, as an
 * archive that somebody else made could hold it (CVE-2026-53489). The caller closes the descriptor, by which criu finds
 * it.
 */
export function prepareDirectory(path: string, option: string): number {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  } catch (error) {
    throw wrapError(`${option} ${path}`, error);
  }
}

/** Both, closed together. */
export class OpenDirectories implements Disposable {
  readonly images: number;
  readonly work: number;

  constructor({ images, work }: CriuPlaces) {
    this.images = prepareDirectory(images, "--image-path");
    try {
      this.work = prepareDirectory(work, "--work-path");
    } catch (error) {
      closeSync(this.images);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.images);
    closeSync(this.work);
  }
}

const maxLogBytes = 256 * 1024;
const maxLines = 4;

/**
 * The error of a criu that failed, with the last errors of its log. What a handler of its notifications threw is the
 * cause, and stays as it is.
 */
export function criuFailure(verb: string, log: string, error: unknown): Error {
  if (!(error instanceof CriuFailure)) return error instanceof Error ? error : new Error(String(error));
  const complaint = error.said === "" ? error.message : error.said;
  const lines = lastErrors(readEnd(log));
  const said = lines.length > 0 ? lines.join("; ") : complaint.trim().split("\n").slice(-maxLines).join("; ");
  return new CricketError("internal", `criu ${verb} failed: ${said} (${log})`, { cause: error });
}

/** Lines as "(00.038987) Error (criu/files-reg.c:1790): Can't lookup mount=1342", without the time. */
export function lastErrors(text: string): string[] {
  return text
    .split("\n")
    .map((line) => /\bError \([^)]*\): .*/.exec(line)?.[0])
    .filter((line) => line !== undefined)
    .slice(-maxLines);
}

function readEnd(path: string): string {
  let fd: number;
  try {
    fd = openSync(path, O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  } catch {
    return "";
  }
  try {
    const bytes = Buffer.alloc(maxLogBytes);
    const start = Math.max(0, fstatSync(fd).size - maxLogBytes);
    return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, start));
  } catch {
    return "";
  } finally {
    closeSync(fd);
  }
}

const descriptorsFile = "descriptors.json";
const maxDescriptorsBytes = 4096;

export const descriptorsPath = (images: string): string => join(images, descriptorsFile);

/** What standard input, output and error were: of an archive that anybody can have made. */
export function readDescriptors(images: string): (string | undefined)[] {
  const path = descriptorsPath(images);
  let text: string;
  try {
    const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    try {
      if (fstatSync(fd).size > maxDescriptorsBytes) throw new Error("too large");
      text = readFileSync(fd, "utf8");
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (errnoOf(error) === "ENOENT")
      throw failedPrecondition(`${path} is missing: no checkpoint of a container`);
    throw wrapError(`read ${path}`, error);
  }
  return parseDescriptors(text, path);
}

/** Others than pipes and files are criu's to restore by itself. */
export function parseDescriptors(text: string, path: string): (string | undefined)[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrapError(path, error);
  }
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string"))
    throw new CricketError("invalid-argument", `${path}: not a list of three texts`);
  return value
    .slice(0, 3)
    .map((item) => (/^(?:pipe:\[\d+\]|file\[[\da-f]+:[\da-f]+\])$/.test(item) ? item : undefined));
}
