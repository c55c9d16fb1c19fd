// Which streams of a session a client wants.
import { invalidArgument } from "../../base/errors.ts";
import type { StreamChoice } from "../services.ts";

/** @throws CricketError invalid-argument for no stream at all, and for stderr beside a terminal, which has one output */
export function streamChoice({ tty, stdin, stdout, stderr }: StreamChoice): StreamChoice {
  if (tty && stderr) throw invalidArgument("tty and stderr are both set: a terminal has one output");
  if (!stdin && !stdout && !stderr) throw invalidArgument("none of stdin, stdout and stderr is set");
  return { tty, stdin, stdout, stderr };
}
