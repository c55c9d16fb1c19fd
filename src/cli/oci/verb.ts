// What a verb of `cricket oci` is made of.
import type { Runtime } from "../../oci/runtime/runtime.ts";
import type { FlagTable, ParsedFlags } from "./flags.ts";

export interface VerbContext {
  runtime: Runtime;
  flags: ParsedFlags;
  operands: readonly string[];
  print: (text: string) => void;
  warn: (message: string) => void;
}

export interface Verb {
  /** "CONTAINER [COMMAND [ARG...]]". */
  operands: string;
  summary: string;
  flags: FlagTable;
  arity: readonly [number, number];
  /** Everything from the first operand on is one: a command to run. */
  passesRest?: boolean;
  /** In front of its errors, as runc has it: "create failed". */
  failure?: string;
  /** The exit status of its errors; 1 if not given. */
  failureStatus?: number;
  /** Resolves with the exit status. */
  run: (context: VerbContext) => Promise<number>;
}
