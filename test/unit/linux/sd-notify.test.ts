import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { close } from "../../../src/linux/files.ts";
import { libc } from "../../../src/linux/libc.ts";
import { notifySupervisor, watchdogIntervalMs } from "../../../src/linux/sd-notify.ts";

const socket = libc.func("int socket(int domain, int type, int protocol)");
const bind = libc.func("int bind(int fd, const void *address, uint32_t length)");
const recv = libc.func("intptr_t recv(int fd, _Out_ uint8_t *data, size_t length, int flags)");

/** Binds a datagram socket as systemd does, and returns what arrives while `send` runs. */
function receive(name: string, send: () => void): string {
  const fd = socket(1, 2, 0) as number;
  try {
    const path = Buffer.from(name.replace(/^@/, "\0"));
    const address = Buffer.concat([Buffer.from([1, 0]), path]);
    assert.equal(bind(fd, address, address.length), 0);
    send();
    const data = Buffer.alloc(100);
    const MSG_DONTWAIT = 0x40;
    const length = Number(recv(fd, data, data.length, MSG_DONTWAIT));
    return data.toString("utf8", 0, Math.max(length, 0));
  } finally {
    close(fd);
  }
}

test("`notifySupervisor()` sends the state to a socket on disk", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "cricket-notify-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "notify");
  const received = receive(path, () => {
    assert.equal(notifySupervisor("READY=1\nSTATUS=listening", { NOTIFY_SOCKET: path }), true);
  });
  assert.equal(received, "READY=1\nSTATUS=listening");
});

test("`notifySupervisor()` sends the state to an abstract socket", () => {
  const name = `@cricket-test-${process.pid}`;
  assert.equal(
    receive(name, () => void notifySupervisor("STOPPING=1", { NOTIFY_SOCKET: name })),
    "STOPPING=1",
  );
});

test("`notifySupervisor()` does nothing without a supervisor", () => {
  for (const path of [undefined, "", "relative", "@", "/", `/${"x".repeat(200)}`])
    assert.equal(notifySupervisor("READY=1", { NOTIFY_SOCKET: path }), false);
});

test("`notifySupervisor()` tells when the supervisor is gone", () => {
  assert.throws(
    () => notifySupervisor("READY=1", { NOTIFY_SOCKET: "/nonexistent/notify" }),
    /sendto .*ENOENT/,
  );
});

test("`watchdogIntervalMs()` is half the time of a watchdog that watches this process", () => {
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "60000000" }, 7), 30_000);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "60000000", WATCHDOG_PID: "7" }, 7), 30_000);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "10" }, 7), 1);
  // No timer of Node waits longer.
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "9".repeat(16) }, 7), 2 ** 31 - 1);
  for (const env of [{}, { WATCHDOG_USEC: "" }, { WATCHDOG_USEC: "-5" }, { WATCHDOG_USEC: "0" }])
    assert.equal(watchdogIntervalMs(env, 7), undefined);
  assert.equal(watchdogIntervalMs({ WATCHDOG_USEC: "60000000", WATCHDOG_PID: "8" }, 7), undefined);
});
