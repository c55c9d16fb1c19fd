import { defineCommand, ExitError, exitStatus, UsageError, type Surroundings } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { pullImage } from "./pull-image.ts";

export const pull = defineCommand({
  operands: "IMAGE...",
  summary: "pull images",
  description: `
Prints the id of each image. The password may be left out of --creds: it is read from CRICKET_PASSWORD then, so
that it is not seen in the list of processes.`,
  options: {
    creds: { value: "USER[:PASSWORD]", about: "credentials for the registry" },
    quiet: { short: "q", about: "no progress bars" },
  },
  arity: [1, Infinity],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const { options, operands, surroundings } = invocation;
      const credentials = credentialsOf(options.creds, surroundings.env);
      for (const image of operands) {
        try {
          const id = await pullImage(client, { image, ...credentials, quiet: options.quiet }, surroundings);
          surroundings.stdout(`${id}\n`);
        } catch (error) {
          if (operands.length === 1 || !(error instanceof Error)) throw error;
          throw new ExitError(exitStatus.failure, `${image}: ${error.message}`, { cause: error });
        }
      }
      return exitStatus.ok;
    }),
});

interface Credentials {
  username?: string;
  password?: string;
}

/** @throws UsageError */
export function credentialsOf(creds: string | undefined, env: Surroundings["env"]): Credentials {
  if (creds === undefined) return {};
  const colon = creds.indexOf(":");
  const username = colon === -1 ? creds : creds.slice(0, colon);
  const password = colon === -1 ? env["CRICKET_PASSWORD"] : creds.slice(colon + 1);
  if (username === "" || password === undefined || password === "")
    throw new UsageError("--creds needs USER:PASSWORD, or USER and CRICKET_PASSWORD");
  return { username, password };
}
