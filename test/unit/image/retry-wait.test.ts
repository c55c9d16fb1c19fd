import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { retryDelayMs } from "../../../src/image/retry-wait.ts";

const nowMs = Date.parse("Fri, 31 Dec 1999 23:59:56 GMT");
const delay = (status: number, retryAfter: string, attempt = 1): number | undefined =>
  retryDelayMs({ status, header: () => retryAfter }, attempt, nowMs);

describe("retryDelayMs()", () => {
  for (const [what, status, retryAfter, expected] of [
    ["a busy registry", 429, "", 200],
    ["a request that came too slowly", 408, "", 200],
    ["a number of seconds", 503, "3", 3000],
    ["a date", 503, "Fri, 31 Dec 1999 23:59:59 GMT", 3000],
    ["a date that has passed", 503, "Fri, 31 Dec 1999 23:59:00 GMT", 200],
    ["a date in the distance", 503, "Sat, 01 Jan 2000 23:59:59 GMT", undefined],
    ["more patience than there is", 429, "60", undefined],
    ["neither a number nor a date", 429, "soon", 200],
    ["a negative number", 429, "-5", 200],
    ["what the server cannot do", 501, "", undefined],
    ["what is not there", 404, "", undefined],
  ] as const)
    test(`knows what to do about ${what}`, () => assert.equal(delay(status, retryAfter), expected));

  test("doubles with each try, and ends", () => {
    assert.deepEqual(
      [1, 2, 3].map((attempt) => delay(500, "", attempt)),
      [200, 400, undefined],
    );
  });
});
