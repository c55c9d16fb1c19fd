import assert from "node:assert/strict";
import { test } from "node:test";
import { errnoName } from "../../../src/linux/libc.ts";

test("errnoName() gives the kernel's name where libc has two for one number", () => {
  assert.equal(errnoName(11), "EAGAIN");
  assert.equal(errnoName(95), "EOPNOTSUPP");
  assert.equal(errnoName(61), "ENODATA");
  assert.equal(errnoName(9999), "E9999");
});
