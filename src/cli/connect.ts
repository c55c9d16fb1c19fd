// From a command to the daemon.
import { connectCri, RpcError, type CriClient } from "../../cri-api/client.ts";
import { exitStatus, ExitError, Interrupted, UsageError, type Surroundings } from "./command.ts";

const defaultEndpoint = "unix:///run/cricket/cricket.sock";

/** "unix:///path" of an option, else of CRICKET_SOCKET, else the default; a bare path will do. @throws UsageError */
function endpointOf(option: string | undefined, env: Surroundings["env"]): string {
  const variable = env["CRICKET_SOCKET"];
  const given = option ?? (variable === undefined || variable === "" ? defaultEndpoint : variable);
  if (given.startsWith("/")) return `unix://${given}`;
  if (/^unix:\/\/\/./.test(given)) return given;
  throw new UsageError(`endpoint ${JSON.stringify(given)} is neither an absolute path nor unix:///path`);
}

export interface Connection {
  client: CriClient;
  endpoint: string;
}

interface Caller {
  options: { readonly [name: string]: unknown };
  surroundings: Surroundings;
}

/**
 * Runs `work` with a connection to the daemon and closes it. `failure` is the exit status of a failed call.
 * @throws ExitError with a message that says what to do when there is no daemon
 */
export async function withDaemon<T>(
  { options, surroundings }: Caller,
  work: (client: CriClient) => Promise<T>,
  failure: number = exitStatus.failure,
): Promise<T> {
  const option = options["endpoint"];
  const endpoint = endpointOf(typeof option === "string" ? option : undefined, surroundings.env);
  const client = connectCri(endpoint);
  try {
    return await work(client);
  } catch (error) {
    // The user's own Ctrl-C shows up as a cancelled call.
    const reason: unknown = surroundings.interrupted.reason;
    throw reason instanceof Interrupted ? reason : explained(error, endpoint, failure);
  } finally {
    client.close();
  }
}

function explained(error: unknown, endpoint: string, failure: number): unknown {
  if (!(error instanceof RpcError)) return error;
  if (error.status === "UNAVAILABLE" && /connect|No connection established/i.test(error.message))
    return new ExitError(failure, `cannot reach the daemon at ${endpoint}: is it running?`);
  return new ExitError(failure, error.message, { cause: error });
}
