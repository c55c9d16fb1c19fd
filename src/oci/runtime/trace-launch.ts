// --debug: what is about to be done in the container, before it is.
import type { LaunchProgram } from "../../linux/launch-program.ts";
import type { Runtime } from "./runtime.ts";

/** One message a step, with its number and its reason. */
export async function traceLaunch({ debug }: Runtime, { steps }: LaunchProgram): Promise<void> {
  if (debug === undefined) return;
  const { formatStep } = await import("../format-step.ts");
  for (const [index, step] of steps.entries()) {
    const why = step.because === undefined ? "" : `: ${step.because.why}`;
    debug(`step ${index + 1} of ${steps.length}: ${formatStep(step, (fd) => `descriptor ${fd}`)}${why}`);
  }
}
