import assert from "node:assert/strict";
import { test } from "node:test";
import { signalName, signalNumber } from "../../../src/linux/signals.ts";

const numbers: [string, number][] = [
  ["SIGTERM", 15],
  ["TERM", 15],
  ["sigterm", 15],
  ["15", 15],
  ["SIGKILL", 9],
  ["SIGUSR1", 10],
  ["SIGCLD", 17],
  ["SIGRTMIN", 34],
  ["RTMIN+3", 37],
  ["SIGRTMAX-1", 63],
  ["64", 64],
];
for (const [signal, number] of numbers)
  test(`\`signalNumber()\` takes ${signal} as ${number}`, () => assert.equal(signalNumber(signal), number));

for (const signal of ["", "0", "65", "-1", "SIGFOO", "SIGRTMIN+31", "TERM ", "1.5", "0x9"])
  test(`\`signalNumber()\` refuses ${JSON.stringify(signal)}`, () => {
    assert.throws(() => signalNumber(signal), { code: "invalid-argument" });
  });

test("`signalName()` and `signalNumber()` are inverses", () => {
  for (let number = 1; number <= 64; number++)
    if (number !== 32 && number !== 33) assert.equal(signalNumber(signalName(number)), number);
  assert.equal(signalName(34), "SIGRTMIN");
  assert.equal(signalName(9), "SIGKILL");
});
