// Commands with several operands do as much as they can and fail in the end if one of them failed.
import { exitStatus, type Interrupted, type Surroundings } from "./command.ts";

interface Operands {
  operands: readonly string[];
  surroundings: Surroundings;
}

/** Runs `work` for each operand in turn; reports each failure as a line of its own and returns the exit status. */
export async function forEach(
  { operands, surroundings }: Operands,
  name: string,
  work: (operand: string) => Promise<unknown>,
): Promise<number> {
  let status: number = exitStatus.ok;
  for (const operand of operands) {
    if (surroundings.interrupted.aborted) throw surroundings.interrupted.reason as Interrupted;
    try {
      await work(operand);
    } catch (error) {
      // Nothing further will work without a daemon.
      if (isUnreachable(error)) throw error;
      const message = error instanceof Error ? error.message : String(error);
      surroundings.stderr(`cricket: ${name} ${operand}: ${message}\n`);
      status = exitStatus.failure;
    }
  }
  return status;
}

function isUnreachable(error: unknown): boolean {
  return error instanceof Error && "status" in error && error.status === "UNAVAILABLE";
}
