import assert from "node:assert/strict";
import { test } from "node:test";
import { derivePaths } from "../../../src/config/paths.ts";
import type { ContainerRecord } from "../../../src/container/container-record.ts";
import { Container } from "../../../src/container/container-store.ts";
import { explainExternal } from "../../../src/container/explain-external.ts";
import { containerConfig } from "./container-fixtures.ts";

test("`explainExternal()` says which commands made the container, and from what", () => {
  const record = { id: "c1", config: containerConfig({}) } as ContainerRecord;
  const command = { name: "runc", path: "/usr/sbin/runc", root: "/run/r", timeoutMs: 1 };
  const paths = derivePaths({ stateRoot: "/var/lib/cricket", runRoot: "/run/cricket" });
  const text = explainExternal(new Container(record), command, paths);
  assert.match(text, /^made by the runtime handler runc/);
  assert.match(text, /\n {2}1 {2}mount .* on \/run\/cricket\/mounts\/c1\/rootfs\n/);
  assert.match(
    text,
    /\n {2}3 {2}\/usr\/sbin\/runc --root \/run\/r .* create --bundle \/run\/cricket\/containers\/c1 /,
  );
  assert.match(text, /\n {2}4 {2}\/usr\/sbin\/runc .* start c1\n/);
});
