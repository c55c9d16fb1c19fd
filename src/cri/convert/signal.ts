// The CRI's signal names and numbers. Its numbers follow the alphabet; its names spell "+" and "-" out.
import { invalidArgument } from "../../base/errors.ts";
import { v1 } from "../../../cri-api/runtime/v1/api.js";

/** "SIGRTMIN+3" for SIGRTMINPLUS3. Undefined for RUNTIME_DEFAULT: the image decides. */
export function signalFromWire(value: number, at: string): string | undefined {
  const name: string | undefined = v1.Signal[value];
  if (name === undefined) throw invalidArgument(`${at} is ${value}: not a known signal`);
  if (value === v1.Signal.RUNTIME_DEFAULT) return undefined;
  return name.replace(/^(SIGRTMIN)PLUS/, "$1+").replace(/^(SIGRTMAX)MINUS/, "$1-");
}

/** RUNTIME_DEFAULT for a signal the CRI has no name for; an image may give one by its number. */
export function signalToWire(name: string): number {
  const wireName = name.replace("+", "PLUS").replace("-", "MINUS");
  const numbers: Readonly<Record<string, unknown>> = v1.Signal;
  const value = Object.hasOwn(numbers, wireName) ? numbers[wireName] : undefined;
  return typeof value === "number" ? value : v1.Signal.RUNTIME_DEFAULT;
}
