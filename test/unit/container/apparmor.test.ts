import assert from "node:assert/strict";
import { test } from "node:test";
import { Apparmor, type ApparmorHost } from "../../../src/container/apparmor.ts";
import type { ContainerSecurity } from "../../../src/container/container-config.ts";
import { security } from "./container-fixtures.ts";

/** A kernel with these profiles; `loads` counts what was loaded into it. */
class FakeHost implements ApparmorHost {
  readonly isEnabled: boolean;
  readonly profiles: Set<string> | undefined;
  loads = 0;

  constructor(profiles?: string[], isEnabled = true) {
    this.isEnabled = isEnabled;
    this.profiles = profiles === undefined ? undefined : new Set(profiles);
  }
  loadedProfiles(): ReadonlySet<string> | undefined {
    return this.profiles;
  }
  async load(text: string): Promise<void> {
    await Promise.resolve();
    this.loads++;
    this.profiles?.add(/^profile (\S+)/m.exec(text)?.[1] ?? "");
  }
}

const ask = (host: ApparmorHost, apparmor?: ContainerSecurity["apparmor"], privileged = false) =>
  new Apparmor("cricket-default", host).profileFor(
    security({ privileged, ...(apparmor === undefined ? {} : { apparmor }) }),
  );

test("`Apparmor.profileFor()` loads the default profile once, and again when the kernel lost it", async () => {
  const host = new FakeHost([]);
  const apparmor = new Apparmor("cricket-default", host);
  const both = await Promise.all([apparmor.profileFor(security({})), apparmor.profileFor(security({}))]);
  assert.deepEqual(both, ["cricket-default", "cricket-default"]);
  assert.equal(host.loads, 1);
  host.profiles?.clear();
  await apparmor.profileFor(security({ apparmor: { type: "runtime-default" } }));
  assert.equal(host.loads, 2);
});

test("`Apparmor.profileFor()` refuses a Localhost profile that is not loaded", async () => {
  const host = new FakeHost(["strict"]);
  assert.equal(await ask(host, { type: "localhost", ref: "strict" }), "strict");
  await assert.rejects(ask(host, { type: "localhost", ref: "other" }), {
    code: "failed-precondition",
    message: "AppArmor profile other is not loaded",
  });
  assert.equal(host.loads, 0);
});

test("`Apparmor.profileFor()` leaves the kernel to refuse where the list cannot be seen", async () => {
  assert.equal(await ask(new FakeHost(), { type: "localhost", ref: "other" }), "other");
});

test("`Apparmor.profileFor()` gives privileged and unconfined containers none", async () => {
  const host = new FakeHost([]);
  assert.equal(await ask(host, { type: "unconfined" }), undefined);
  assert.equal(await ask(host, { type: "localhost", ref: "other" }, true), undefined);
});

test("`Apparmor.profileFor()` without AppArmor refuses Localhost alone", async () => {
  const host = new FakeHost(undefined, false);
  assert.equal(await ask(host), undefined);
  assert.equal(await ask(host, { type: "runtime-default" }), undefined);
  await assert.rejects(ask(host, { type: "localhost", ref: "strict" }), {
    code: "invalid-argument",
    message: "config.linux.security_context.apparmor: AppArmor is not enabled on this host",
  });
});

test("`Apparmor.profileFor()` does not load what the operator named and did not load", async () => {
  const apparmor = new Apparmor("ours", new FakeHost(["cricket-default"]));
  await assert.rejects(apparmor.profileFor(security({})), { message: "AppArmor profile ours is not loaded" });
});
