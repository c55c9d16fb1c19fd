import assert from "node:assert/strict";
import { test } from "node:test";
import { parseApparmorProfiles } from "../../../src/linux/apparmor.ts";

test("`parseApparmorProfiles()` takes the mode off, whatever the name holds", () => {
  const text =
    "cricket-default (enforce)\n/usr/bin/man (complain)\nodd (name) here (kill)\nflag (unconfined)\n";
  assert.deepEqual(
    [...parseApparmorProfiles(text)],
    ["cricket-default", "/usr/bin/man", "odd (name) here", "flag"],
  );
  assert.equal(parseApparmorProfiles("").size, 0);
  assert.equal(parseApparmorProfiles("no mode\n").size, 0);
});
