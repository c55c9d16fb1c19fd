// signal(7): names and numbers of Linux, real-time signals included.
import { constants } from "node:os";
import { invalidArgument } from "../base/errors.ts";

// The C library keeps 32 and 33 for its threads; what programs call SIGRTMIN is 34.
const SIGRTMIN = 34;
const SIGRTMAX = 64;

const byName = new Map<string, number>(Object.entries(constants.signals));
byName.set("SIGRTMIN", SIGRTMIN);
byName.set("SIGRTMAX", SIGRTMAX);
byName.set("SIGCLD", constants.signals.SIGCHLD);
for (let number = SIGRTMIN; number <= SIGRTMAX; number++) {
  byName.set(`SIGRTMIN+${number - SIGRTMIN}`, number);
  byName.set(`SIGRTMAX-${SIGRTMAX - number}`, number);
}

const byNumber = new Map<number, string>();
for (const [name, number] of byName) if (!byNumber.has(number)) byNumber.set(number, name);

/**
 * The number of "SIGTERM", "TERM", "sigterm", "15" or "SIGRTMIN+3", as images and clients write signals.
 * @throws CricketError invalid-argument naming the signal
 */
export function signalNumber(signal: string): number {
  if (/^\d{1,2}$/.test(signal)) {
    const number = Number(signal);
    if (number >= 1 && number <= SIGRTMAX) return number;
  }
  const upper = signal.toUpperCase();
  const number = byName.get(upper.startsWith("SIG") ? upper : `SIG${upper}`);
  if (number === undefined) throw invalidArgument(`signal ${JSON.stringify(signal)} is unknown`);
  return number;
}

/** "SIGTERM" for 15; "SIG<number>" where it has no name. */
export function signalName(number: number): string {
  return byNumber.get(number) ?? `SIG${number}`;
}
