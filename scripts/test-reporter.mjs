// A node:test reporter that writes one JSON line for each test that ended, for scripts/test.mjs to count.

/** `{name, file, result: "passed" | "failed" | "skipped", reason?}` a line; suites count only when skipped as a whole. */
export default async function* report(source) {
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { name, file, skip, todo, details } = event.data;
    if (skip === undefined && todo === undefined && details?.type === "suite") continue;
    yield `${JSON.stringify({ name, file, ...outcome(event.type, skip, todo) })}\n`;
  }
}

function outcome(type, skip, todo) {
  const mark = skip ?? todo;
  if (mark === undefined) return { result: type === "test:pass" ? "passed" : "failed" };
  return { result: "skipped", reason: typeof mark === "string" ? mark : "no reason given" };
}
