import assert from "node:assert/strict";
import { test } from "node:test";
import { BulkRest } from "../../../src/streaming/bulk-rest.ts";

test("`BulkRest` releases once, after the last session, and only when much has moved", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let releases = 0;
  const rest = new BulkRest(() => releases++);
  rest.begin();
  rest.end(1_000_000);
  t.mock.timers.tick(60_000);
  assert.equal(releases, 0, "little has moved");
  rest.begin();
  rest.begin();
  rest.end(30_000_000);
  t.mock.timers.tick(60_000);
  assert.equal(releases, 0, "a session is open");
  rest.end(0);
  rest.begin();
  t.mock.timers.tick(60_000);
  assert.equal(releases, 0, "another one has begun");
  rest.end(0);
  t.mock.timers.tick(60_000);
  assert.equal(releases, 1);
  rest.begin();
  rest.end(0);
  t.mock.timers.tick(60_000);
  assert.equal(releases, 1, "nothing has moved since");
});
