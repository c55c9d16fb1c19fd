import { defineCommand, exitStatus } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { planRun, runOptions } from "./run-plan.ts";
import { RunSession } from "./run-session.ts";

export const run = defineCommand({
  operands: "IMAGE [ARG...]",
  summary: "run a command in a new container and show its output",
  description: `
Makes a pod with one container, shows what it writes and returns its exit status. The pod is removed in the end,
also after Ctrl-C, which stops the container; a second Ctrl-C kills it.
Exit status: that of the program; 124 after --timeout, 125 when cricket failed, 126 or 127 when the program
cannot be executed or does not exist.`,
  options: runOptions,
  arity: [1, Infinity],
  passesRest: true,
  async run(invocation) {
    const { options, operands, surroundings } = invocation;
    const plan = planRun(options, operands, { env: surroundings.env, workingDirectory: process.cwd() });
    return withDaemon(
      invocation,
      (client) => new RunSession(client, plan, surroundings).run(),
      exitStatus.notRun,
    );
  },
});
