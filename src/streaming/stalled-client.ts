// While a client has to wait because nobody takes its input, its socket is not read, and only writing shows that it has
// gone.

const pingEveryMs = 5_000;

/** Calls `ping` now and then until the function that is returned is called. */
export function pingStalledClient(ping: () => void): () => void {
  const timer = setInterval(ping, pingEveryMs);
  return () => clearInterval(timer);
}
