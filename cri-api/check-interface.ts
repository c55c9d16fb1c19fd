// Compares api.proto with the facts of the interface in interface.tsv, both ways: `npx tsx cri-api/check-interface.ts`.
// The table has one line an RPC, field, enum value and empty message:
//   kind <tab> parent <tab> name <tab> number <tab> type <tab> label <tab> note
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const { Enum, MapField, Namespace, Service, Type } = protobuf;

/** The facts of a proto in the words of the table, in no particular order. @throws Error when it cannot be parsed */
export function factsOfProto(source: string): string[] {
  const { root, package: name } = protobuf.parse(source, { keepCase: true });
  const found = root.lookup(name ?? "");
  if (!(found instanceof Namespace)) throw new Error(`package ${String(name)} is empty`);
  return found.nestedArray.flatMap((entry) => factsOf(entry, entry.name));
}

function factsOf(entry: protobuf.ReflectionObject, path: string): string[] {
  if (entry instanceof Service) return entry.methodsArray.map((method) => rpcFact(method, path));
  if (entry instanceof Enum)
    return Object.entries(entry.values).map(([name, value]) =>
      fact("value", path, name, [value, "enum", "", ""]),
    );
  if (entry instanceof Type) return messageFacts(entry, path);
  return [];
}

function rpcFact(method: protobuf.Method, service: string): string {
  const request = `${method.requestStream === true ? "stream " : ""}${method.requestType}`;
  const response = `${method.responseStream === true ? "stream " : ""}${method.responseType}`;
  return fact("rpc", service, method.name, ["", `${request} -> ${response}`, "", ""]);
}

function messageFacts(message: protobuf.Type, path: string): string[] {
  const nested = message.nestedArray.flatMap((entry) => factsOf(entry, `${path}.${entry.name}`));
  if (message.fieldsArray.length === 0) return [...nested, fact("message", path, "", ["", "", "", "empty"])];
  return [...nested, ...message.fieldsArray.map((field) => fieldFact(field, path))];
}

function fieldFact(field: protobuf.Field, message: string): string {
  const type = field instanceof MapField ? `map<${field.keyType},${field.type}>` : field.type;
  const label = field.repeated ? "repeated" : "";
  const note = field.options?.["deprecated"] === true ? "deprecated" : "";
  return fact("field", message, field.name, [field.id, type, label, note]);
}

function fact(kind: string, parent: string, name: string, rest: (string | number)[]): string {
  return [kind, parent, name, ...rest].join("\t");
}

/** Lines that only one of the two has: "not in the proto: ..." and "not in the table: ...". Empty: they agree. */
export function compareInterface(proto: string, table: string): string[] {
  const wanted = table.trimEnd().split("\n").slice(1);
  const present = factsOfProto(proto);
  return [
    ...missingFrom(new Set(present), wanted, "not in the proto"),
    ...missingFrom(new Set(wanted), present, "not in the table"),
  ];
}

function missingFrom(known: ReadonlySet<string>, lines: readonly string[], what: string): string[] {
  return lines
    .filter((line) => !known.has(line))
    .map((line) => `${what}: ${line.replaceAll("\t", " ").trim()}`);
}

export function checkInterface(): string[] {
  const folder = join(fileURLToPath(new URL(".", import.meta.url)), "runtime", "v1");
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  return compareInterface(read("api.proto"), read("interface.tsv"));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const differences = checkInterface();
  for (const difference of differences) process.stderr.write(`api.proto: ${difference}\n`);
  process.exitCode = differences.length === 0 ? 0 : 1;
}
