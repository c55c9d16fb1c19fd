// The few methods of systemd's manager that cgroups need (org.freedesktop.systemd1(5)).
import { CricketError, hasCode, messageOf } from "../../base/errors.ts";
import { DBusConnection, textOf, withDeadline } from "./dbus-connection.ts";
import type { DBusMessage } from "./dbus-message.ts";
import type { DBusValue, DBusVariant } from "./dbus-signature.ts";

export type UnitProperty = readonly [name: string, value: DBusVariant];

/** A socket where systemd can be reached: by way of the message bus, or of its own for root. */
export interface SystemdAddress {
  path: string;
  isBus: boolean;
}

/** In this order. The bus is the documented way; systemd's own socket is there also without a dbus-daemon. */
export function defaultAddresses(env: NodeJS.ProcessEnv = process.env): SystemdAddress[] {
  const given = /^unix:path=([^,;%]+)$/.exec(env["DBUS_SYSTEM_BUS_ADDRESS"] ?? "")?.[1];
  return [
    { path: given ?? "/run/dbus/system_bus_socket", isBus: true },
    { path: "/run/systemd/private", isBus: false },
  ];
}

const connectTimeoutMs = 10_000;
const callTimeoutMs = 25_000;
const jobTimeoutMs = 60_000;
/** Jobs of which nobody has asked yet: a job may have ended before the call that began it is answered. */
const keptResults = 256;

const destination = "org.freedesktop.systemd1";
const managerPath = "/org/freedesktop/systemd1";
const managerInterface = "org.freedesktop.systemd1.Manager";

interface Waiter {
  resolve: (result: string) => void;
  reject: (error: Error) => void;
}

export class SystemdClient {
  readonly #addresses: readonly SystemdAddress[];
  #connecting: Promise<OpenConnection> | undefined;
  #version: number | undefined;
  readonly #waiters = new Map<string, Waiter>();
  readonly #results = new Map<string, string>();

  constructor(addresses: readonly SystemdAddress[] = defaultAddresses()) {
    this.#addresses = addresses;
  }

  /** Starts a transient unit and waits until it is there. Throws already-exists, and internal when its job failed. */
  async startTransientUnit(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    await this.#runJob(unit, "StartTransientUnit", "ssa(sv)a(sa(sv))", [
      unit,
      "fail",
      encode(properties),
      [],
    ]);
  }

  /** Stops a unit and waits for the end of it; one that is not there is stopped. */
  async stopUnit(unit: string): Promise<void> {
    try {
      await this.#runJob(unit, "StopUnit", "ss", [unit, "replace"]);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
    }
  }

  /** A unit that has failed stays loaded until this is called; no error where there is none. */
  async resetFailedUnit(unit: string): Promise<void> {
    try {
      await this.#call("ResetFailedUnit", "s", [unit]);
    } catch (error) {
      if (!hasCode(error, "not-found")) throw error;
    }
  }

  /** Until the next boot. Throws not-found where there is no such unit. */
  async setUnitProperties(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    await this.#call("SetUnitProperties", "sba(sv)", [unit, true, encode(properties)]);
  }

  /** 252 for "252.38-1~deb12u1"; what a unit can be told depends on it. */
  async version(): Promise<number> {
    if (this.#version !== undefined) return this.#version;
    const [value] = await this.#call(
      "Get",
      "ss",
      [managerInterface, "Version"],
      "org.freedesktop.DBus.Properties",
    );
    const text = textOf((value as DBusVariant | undefined)?.value);
    return (this.#version = Number(/\d+/.exec(text)?.[0] ?? 0));
  }

  async close(): Promise<void> {
    const open = await this.#connecting?.catch(() => undefined);
    open?.connection.close();
  }

  async #runJob(unit: string, member: string, signature: string, body: DBusValue[]): Promise<void> {
    const [path] = await this.#call(member, signature, body);
    const job = textOf(path);
    let result: string;
    try {
      result = await withDeadline(this.#resultOf(job), jobTimeoutMs, `systemd: ${member} ${unit}`);
    } finally {
      this.#waiters.delete(job);
    }
    if (result !== "done")
      throw new CricketError("internal", `systemd: ${member} ${unit}: its job ended ${result}`);
  }

  #resultOf(job: string): Promise<string> {
    const known = this.#results.get(job);
    if (known !== undefined) {
      this.#results.delete(job);
      return Promise.resolve(known);
    }
    return new Promise((resolve, reject) => this.#waiters.set(job, { resolve, reject }));
  }

  async #call(
    member: string,
    signature: string,
    body: DBusValue[],
    methodInterface = managerInterface,
  ): Promise<readonly DBusValue[]> {
    const { connection, isBus } = await this.#open();
    return connection.call(
      {
        ...(isBus ? { destination } : {}),
        path: managerPath,
        interface: methodInterface,
        member,
        signature,
        body,
      },
      callTimeoutMs,
    );
  }

  /** One connection for all; a new one when the last was lost (the bus was restarted, systemd was executed anew). */
  async #open(): Promise<OpenConnection> {
    const connecting = (this.#connecting ??= this.#connect());
    try {
      const open = await connecting;
      if (open.connection.isOpen) return open;
    } catch (error) {
      if (this.#connecting === connecting) this.#connecting = undefined;
      throw error;
    }
    if (this.#connecting === connecting) this.#connecting = undefined;
    return this.#open();
  }

  async #connect(): Promise<OpenConnection> {
    const failures: string[] = [];
    for (const address of this.#addresses) {
      try {
        return await this.#connectTo(address);
      } catch (error) {
        failures.push(messageOf(error));
      }
    }
    throw new CricketError("unavailable", `systemd cannot be reached: ${failures.join("; ")}`);
  }

  async #connectTo({ path, isBus }: SystemdAddress): Promise<OpenConnection> {
    const connection = await DBusConnection.connect(path, {
      timeoutMs: connectTimeoutMs,
      onSignal: (signal) => this.#onSignal(signal),
      onClose: (error) => this.#onClose(error),
    });
    try {
      if (isBus) await joinBus(connection);
      // Without it systemd sends no signals to the bus.
      const subscribe = { path: managerPath, interface: managerInterface, member: "Subscribe" };
      await connection.call({ ...(isBus ? { destination } : {}), ...subscribe }, callTimeoutMs);
      return { connection, isBus };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  // JobRemoved(u id, o job, s unit, s result)
  #onSignal({ interface: from, member, body = [] }: DBusMessage): void {
    if (from !== managerInterface || member !== "JobRemoved") return;
    const [, job, , result] = body.map(String);
    if (job === undefined || result === undefined) return;
    const waiter = this.#waiters.get(job);
    if (waiter !== undefined) return waiter.resolve(result);
    this.#results.set(job, result);
    const [oldest] = this.#results.keys();
    if (this.#results.size > keptResults && oldest !== undefined) this.#results.delete(oldest);
    return undefined;
  }

  #onClose(error: Error): void {
    for (const waiter of this.#waiters.values()) waiter.reject(error);
    this.#waiters.clear();
    this.#results.clear();
    // Also systemd may be another one now.
    this.#version = undefined;
  }
}

interface OpenConnection {
  connection: DBusConnection;
  isBus: boolean;
}

async function joinBus(connection: DBusConnection): Promise<void> {
  const bus = {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
  };
  await connection.call({ ...bus, member: "Hello" }, callTimeoutMs);
  const rule = `type='signal',sender='${destination}',path='${managerPath}',interface='${managerInterface}',member='JobRemoved'`;
  await connection.call({ ...bus, member: "AddMatch", signature: "s", body: [rule] }, callTimeoutMs);
}

const encode = (properties: readonly UnitProperty[]): DBusValue[] =>
  properties.map(([name, value]) => [name, value]);
