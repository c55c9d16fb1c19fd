// Messages of the CRI as JSON for people and scripts: 64-bit integers exact, times readable, enums by name.
import { fromInt64 } from "../../cri-api/int64.ts";
import { v1, type Int64 } from "../../cri-api/runtime/v1/api.js";
import { formatTime } from "./format.ts";

type Names = Readonly<Record<number, string | undefined>>;

/** Fields whose numbers are enum values. `state` depends on the message and is given by the caller. */
const enumFields: Readonly<Record<string, Names>> = {
  network: v1.NamespaceMode,
  pid: v1.NamespaceMode,
  ipc: v1.NamespaceMode,
  mode: v1.NamespaceMode,
  propagation: v1.MountPropagation,
  protocol: v1.Protocol,
  stopSignal: v1.Signal,
};

/** A decoded message as plain data. Fields named `...At` and `timestamp` are times in nanoseconds. */
export function messageToJson(message: object, states: Names): unknown {
  return convert(message, "", { ...enumFields, state: states });
}

function convert(value: unknown, field: string, enums: Readonly<Record<string, Names>>): unknown {
  if (typeof value === "number") return enums[field]?.[value] ?? value;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map((element) => convert(element, field, enums));
  if (isInt64(value)) return int64ToJson(value, field);
  return Object.fromEntries(fieldsOf(value).map(([name, inner]) => [name, convert(inner, name, enums)]));
}

// A message has its fields, in the order of the proto and with their defaults, on its prototype; a map has none there.
function fieldsOf(message: object): [string, unknown][] {
  const prototype = Object.getPrototypeOf(message) as object | null;
  const isMap = prototype === Object.prototype || prototype === null;
  const names = Object.keys(isMap ? message : (prototype ?? {}));
  const fields = names.map((name): [string, unknown] => [name, (message as Record<string, unknown>)[name]]);
  return fields.filter(([, value]) => value !== null && value !== undefined);
}

function isInt64(value: object): value is Int64 {
  return "low" in value && "high" in value && "unsigned" in value;
}

function int64ToJson(value: Int64, field: string): number | string {
  const exact = fromInt64(value);
  if (field.endsWith("At") || field === "timestamp") return formatTime(exact);
  const number = Number(exact);
  return Number.isSafeInteger(number) ? number : exact.toString();
}

/** The `info` map of a verbose status: its JSON texts become data. */
export function infoToJson(info: Readonly<Record<string, string>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(info).map(([key, text]) => {
      try {
        return [key, JSON.parse(text) as unknown];
      } catch {
        return [key, text];
      }
    }),
  );
}
