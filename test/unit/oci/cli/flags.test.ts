import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { UsageError } from "../../../../src/cli/command.ts";
import { countOf, formatFlags, parseFlags, type FlagTable } from "../../../../src/cli/oci/flags.ts";

const table: FlagTable = {
  force: { short: "f", help: "now" },
  bundle: { short: "b", takes: "text", value: "DIR", help: "the bundle" },
  env: { short: "e", takes: "list", help: "a variable" },
};

function parsed(argv: string[], interleaved: boolean): unknown {
  const { switches, texts, lists, operands } = parseFlags(argv, table, interleaved);
  return [[...switches], Object.fromEntries(texts), Object.fromEntries(lists), operands];
}

test("`parseFlags()` takes one dash or two, values behind a blank or an equals sign", () => {
  assert.deepEqual(parsed(["-bundle", "x", "--force", "-e=a=b", "-e", "c", "id"], true), [
    ["force"],
    { bundle: "x" },
    { env: ["a=b", "c"] },
    ["id"],
  ]);
});

test("`parseFlags()` takes options behind operands only where they may be there", () => {
  assert.deepEqual(parsed(["id", "-f"], true), [["force"], {}, {}, ["id"]]);
  assert.deepEqual(parsed(["id", "-f"], false), [[], {}, {}, ["id", "-f"]]);
  assert.deepEqual(parsed(["--", "-f"], true), [[], {}, {}, ["-f"]]);
  assert.deepEqual(parsed(["-"], true), [[], {}, {}, ["-"]]);
});

test("`parseFlags()` takes true and false for a switch", () => {
  assert.deepEqual(parsed(["--force=true"], true), [["force"], {}, {}, []]);
  assert.deepEqual(parsed(["-f", "--force=false"], true), [[], {}, {}, []]);
  assert.throws(() => parsed(["--force=maybe"], true), UsageError);
});

test("`parseFlags()` refuses unknown options and missing values", () => {
  assert.throws(() => parsed(["--nosuch"], true), /flag provided but not defined: -nosuch/);
  assert.throws(() => parsed(["--bundle"], true), /flag needs an argument: -bundle/);
  assert.throws(() => parsed(["--constructor"], true), UsageError);
});

test("`parseFlags()` throws nothing but UsageError, whatever it reads", () => {
  fc.assert(
    fc.property(fc.array(fc.string()), fc.boolean(), (argv, interleaved) => {
      try {
        parseFlags(argv, table, interleaved);
      } catch (error) {
        assert.ok(error instanceof UsageError);
      }
    }),
  );
});

test("`countOf()` refuses what is not a count", () => {
  const counts: FlagTable = { n: { takes: "text", help: "how many" } };
  assert.equal(countOf(parseFlags(["-n", "3"], counts, true), "n"), 3);
  assert.equal(countOf(parseFlags([], counts, true), "n"), 0);
  for (const value of ["-1", "x", "1.5", ""])
    assert.throws(() => countOf(parseFlags([`-n=${value}`], counts, true), "n"), UsageError);
});

test("`formatFlags()` prints an option a line, in columns", () => {
  assert.equal(
    formatFlags({ ...table, "no-pivot": { help: "chroot" } }),
    `  -f, --force       now
  -b, --bundle DIR  the bundle
  -e, --env VALUE   a variable; again and again
      --no-pivot    chroot
`,
  );
});
