// Which Linux this is: what a kernel can do is known by its release where asking it has side effects.
import { release } from "node:os";

export interface KernelRelease {
  major: number;
  minor: number;
}

/** Of the running kernel. */
export function kernelRelease(): KernelRelease {
  return parseRelease(release());
}

/** "6.1.0-13-amd64" -> 6, 1. Anything else counts as 0.0, so that no feature is assumed. */
export function parseRelease(text: string): KernelRelease {
  const match = /^(\d+)\.(\d+)/.exec(text);
  return { major: Number(match?.[1] ?? 0), minor: Number(match?.[2] ?? 0) };
}

export function isAtLeast(kernel: KernelRelease, major: number, minor: number): boolean {
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor);
}
