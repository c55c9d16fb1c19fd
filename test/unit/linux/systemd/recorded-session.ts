// One conversation with systemd, as it was recorded against a real one and as it is played again.
import type { SystemdClient } from "../../../../src/linux/systemd/systemd-client.ts";
import { boolean, text, uint64 } from "../../../../src/linux/systemd/unit-properties.ts";

/** Bytes in hexadecimal, after the authentication. */
export interface RecordedTurn {
  from: "client" | "server";
  bytes: string;
}

export interface Recording {
  /** The process that the scope was made with. */
  pid: number;
  turns: RecordedTurn[];
}

const unit = "cricket-recorded.scope";

/** What every call came to: "done", or the error's code and message. */
export async function converse(client: SystemdClient, pid: number): Promise<string[]> {
  const outcomes: string[] = [];
  const note = async (what: string, work: Promise<number | void>): Promise<void> => {
    try {
      const value = await work;
      outcomes.push(`${what}: ${value === undefined ? "done" : String(value)}`);
    } catch (error) {
      const { code, message } = error as Error & { code: string };
      outcomes.push(`${what}: ${code}: ${message}`);
    }
  };
  const properties = [
    ["Description", text("a recorded scope")],
    ["Slice", text("recorded.slice")],
    ["PIDs", { signature: "au", value: [pid] }],
    ["Delegate", boolean(true)],
    ["CollectMode", text("inactive-or-failed")],
    ["MemoryMax", uint64(1n << 26n)],
    ["AllowedCPUs", { signature: "ay", value: new Uint8Array([1]) }],
  ] as const;
  await note("version", client.version());
  await note("start", client.startTransientUnit(unit, properties));
  await note("start it again", client.startTransientUnit(unit, properties));
  await note("set", client.setUnitProperties(unit, [["TasksMax", uint64(55n)]]));
  await note("set what is unknown", client.setUnitProperties(unit, [["NoSuchProperty", uint64(1n)]]));
  await note("stop", client.stopUnit(unit));
  await note("reset", client.resetFailedUnit(unit));
  await note("stop it again", client.stopUnit(unit));
  await note("set after its end", client.setUnitProperties(unit, [["TasksMax", uint64(55n)]]));
  return outcomes;
}

export const expectedOutcomes = [
  "version: 252",
  "start: done",
  `start it again: already-exists: StartTransientUnit: Unit ${unit} was already loaded or has a fragment file (org.freedesktop.systemd1.UnitExists)`,
  "set: done",
  "set what is unknown: invalid-argument: SetUnitProperties: Cannot set property NoSuchProperty, or unknown property (org.freedesktop.DBus.Error.PropertyReadOnly)",
  "stop: done",
  "reset: done",
  "stop it again: done",
  `set after its end: not-found: SetUnitProperties: Unit ${unit} not found (org.freedesktop.systemd1.NoSuchUnit)`,
];
