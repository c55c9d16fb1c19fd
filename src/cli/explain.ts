import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { defineCommand, exitStatus } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { needContainer } from "./find-object.ts";

export const explain = defineCommand({
  operands: "CONTAINER|config.json|BUNDLE",
  summary: "print how a container is launched, step by step",
  description: `
Each step between fork and exec with the reason it is there and the rule that asks for it: of a container of the
daemon, or of an OCI config.json (or the bundle it lies in), which needs neither a daemon nor privileges.`,
  options: {},
  arity: [1, 1],
  async run(invocation) {
    const { operands, surroundings } = invocation;
    const [operand = ""] = operands;
    const file = configFile(operand);
    const text = file === undefined ? await explainContainer(invocation, operand) : await explainFile(file);
    surroundings.stdout(text.endsWith("\n") ? text : `${text}\n`);
    return exitStatus.ok;
  },
});

// A name of a container has neither a slash nor an ending; a file in the current directory does not hide one.
function configFile(operand: string): string | undefined {
  if (!/\/|\.json$/.test(operand) && operand !== ".") return undefined;
  return statSync(operand).isDirectory() ? join(operand, "config.json") : operand;
}

async function explainFile(path: string): Promise<string> {
  const { explainSpec } = await import("../oci/explain.ts");
  const { parseSpec } = await import("../oci/parse-spec.ts");
  return explainSpec(parseSpec(readFileSync(path, "utf8")));
}

function explainContainer(invocation: Parameters<typeof withDaemon>[0], operand: string): Promise<string> {
  return withDaemon(invocation, async (client) => {
    const { id } = await needContainer(client, operand);
    return (await client.cricket.explainContainer({ containerId: id })).text;
  });
}
