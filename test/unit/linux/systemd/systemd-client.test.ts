// The client against conversations recorded with systemd 252, and against what a bus may do wrong.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { DBusMessage } from "../../../../src/linux/systemd/dbus-message.ts";
import { defaultAddresses, SystemdClient } from "../../../../src/linux/systemd/systemd-client.ts";
import { FakeBus, jobRemoved } from "./fake-bus.ts";
import { converse, expectedOutcomes, type Recording } from "./recorded-session.ts";

for (const [name, isBus] of [
  ["bus", true],
  ["private", false],
] as const)
  test(`a conversation recorded over ${isBus ? "the message bus" : "systemd's own socket"} comes out the same`, async () => {
    const file = join(import.meta.dirname, `recorded-${name}.json`);
    const recording = JSON.parse(readFileSync(file, "utf8")) as Recording;
    const bus = await FakeBus.replaying(recording);
    const client = new SystemdClient([{ path: bus.path, isBus }]);
    try {
      assert.deepEqual(await converse(client, recording.pid), expectedOutcomes);
      assert.equal(bus.connections, 1);
    } finally {
      await client.close();
      await bus.close();
    }
  });

type Answer = Parameters<typeof FakeBus.answering>[0];

async function fixture(
  t: TestContext,
  answer: Answer,
  auth?: string,
): Promise<{ bus: FakeBus; client: SystemdClient }> {
  const bus = await FakeBus.answering(answer, auth);
  const client = new SystemdClient([{ path: bus.path, isBus: false }]);
  t.after(async () => {
    await client.close();
    await bus.close();
  });
  return { bus, client };
}

const job = "/org/freedesktop/systemd1/job/7";
const jobReply: Partial<DBusMessage> = { signature: "o", body: [job] };

test("a job that ends before its call is answered is not waited for in vain", async (t) => {
  const { client } = await fixture(t, ({ member }, send) => {
    if (member === "Subscribe") return send({});
    send(jobRemoved(job, "a.scope", "done"));
    return send(jobReply);
  });
  await client.startTransientUnit("a.scope", []);
});

test("a job that does not end well is an error with its result", async (t) => {
  for (const result of ["failed", "canceled", "timeout", "dependency", "skipped"]) {
    const { client } = await fixture(t, ({ member }, send) => {
      if (member === "Subscribe") return send({});
      send(jobReply);
      return send(jobRemoved(job, "a.scope", result));
    });
    await assert.rejects(client.startTransientUnit("a.scope", []), {
      message: `systemd: StartTransientUnit a.scope: its job ended ${result}`,
    });
  }
});

test("jobs of others, calls and answers nobody asked for are passed over", async (t) => {
  const { client } = await fixture(t, ({ member }, send) => {
    send({ replySerial: 99_999 });
    send({ type: "call", member: "Ping", path: "/", replySerial: 0 });
    send({ ...jobRemoved(job, "a.scope", "failed"), interface: "org.example" });
    for (let count = 0; count < 600; count++) send(jobRemoved(`${job}${count}`, "b.service", "failed"));
    if (member === "Subscribe") return send({});
    send(jobReply);
    return send(jobRemoved(job, "a.scope", "done"));
  });
  await client.stopUnit("a.scope");
});

test("a connection that breaks while a job runs is an error, and the next call makes a new one", async (t) => {
  const { bus, client } = await fixture(t, ({ member }, send) => {
    if (member === "StartTransientUnit") {
      send(jobReply);
      setImmediate(() => bus.drop());
      return;
    }
    send({});
  });
  await assert.rejects(client.startTransientUnit("a.scope", []), { code: "unavailable" });
  await client.resetFailedUnit("a.scope");
  assert.equal(bus.connections, 2);
});

test("calls that are made at the same time share one connection", async (t) => {
  const { bus, client } = await fixture(t, (_call, send) => send({}));
  await Promise.all([1, 2, 3, 4].map((number) => client.resetFailedUnit(`${number}.scope`)));
  assert.equal(bus.connections, 1);
});

test("bytes that are no message end the connection with an error", async (t) => {
  const { client } = await fixture(t, (_call, send) => send(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")));
  await assert.rejects(client.version(), /d-bus: a message begins with 72/);
});

test("a refused authentication and a socket that is not there are told apart, with their paths", async (t) => {
  const { bus } = await fixture(t, () => {}, "REJECTED EXTERNAL\r\n");
  const client = new SystemdClient([
    { path: bus.path, isBus: true },
    { path: "/nowhere/private", isBus: false },
  ]);
  await assert.rejects(client.version(), (error: Error) => {
    assert.match(
      error.message,
      /^systemd cannot be reached: connect to .*\/bus: .*refused; connect to \/nowhere\/private: ENOENT$/,
    );
    return true;
  });
});

test("the second address is taken where the first does not answer", async (t) => {
  const { bus } = await fixture(t, (_call, send) => send({}));
  const client = new SystemdClient([
    { path: "/nowhere/bus", isBus: true },
    { path: bus.path, isBus: false },
  ]);
  t.after(() => client.close());
  await client.resetFailedUnit("a.scope");
});

test("`defaultAddresses()` has the bus, where it is said to be, before systemd's own socket", () => {
  const paths = (env: NodeJS.ProcessEnv): string[] => defaultAddresses(env).map(({ path }) => path);
  assert.deepEqual(paths({}), ["/run/dbus/system_bus_socket", "/run/systemd/private"]);
  assert.equal(paths({ DBUS_SYSTEM_BUS_ADDRESS: "unix:path=/x/bus" })[0], "/x/bus");
  assert.equal(paths({ DBUS_SYSTEM_BUS_ADDRESS: "tcp:host=example" })[0], "/run/dbus/system_bus_socket");
});
