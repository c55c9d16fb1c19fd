import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { Log } from "../../../src/base/log.ts";
import { newId } from "../../../src/base/ids.ts";
import { parseIp } from "../../../src/network/ip-address.ts";
import type { ServedPort } from "../../../src/network/nft-ruleset.ts";
import { NftTable } from "../../../src/network/nft-table.ts";
import { parseSubnet } from "../../../src/network/subnet.ts";

interface FakeNft {
  table: NftTable;
  /** The host ports of each ruleset that was written. */
  written(): string[][];
  /** From now on nft fails, or works again. */
  fail(isFailing: boolean): void;
}

function makeTable(t: TestContext): FakeNft {
  const directory = mkdtempSync(join(tmpdir(), "cricket-nft-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const journal = join(directory, "journal");
  const failing = join(directory, "failing");
  const script = `#!/bin/sh\nif [ -e ${failing} ]; then cat > /dev/null; echo refused >&2; exit 1; fi\n(cat; echo ---) >> ${journal}\n`;
  writeFileSync(join(directory, "nft"), script, { mode: 0o755 });
  const options = { bridgeName: "cricket0", subnets: [parseSubnet("10.88.0.0/16", "subnet")] };
  return {
    table: new NftTable(join(directory, "nft"), options, new Log({ write: () => {} })),
    written: () =>
      existsSync(journal)
        ? readFileSync(journal, "utf8")
            .split("---\n")
            .slice(0, -1)
            .map((ruleset) => [...ruleset.matchAll(/tcp \. (\d+) :/g)].map((match) => match[1] ?? ""))
        : [],
    fail: (isFailing) => (isFailing ? writeFileSync(failing, "") : rmSync(failing)),
  };
}

const port = (hostPort: number): ServedPort => ({
  protocol: "tcp",
  hostIp: undefined,
  hostPort,
  podIp: parseIp("10.88.0.2", "ip"),
  containerPort: 80,
});

test("`serve()` and `withdraw()` write the ports of all pods", async (t) => {
  const { table, written } = makeTable(t);
  const [one, two] = [newId(), newId()];
  await table.serve(one, [port(1)]);
  await table.serve(two, [port(2), port(3)]);
  await table.withdraw(one);
  assert.deepEqual(written(), [["1"], ["1", "2", "3"], ["2", "3"]]);
});

test("`withdraw()` of a pod without ports runs nothing, also before the ports of others are known", async (t) => {
  const { table, written } = makeTable(t);
  await table.withdraw(newId());
  assert.deepEqual(written(), []);
});

test("`serve()` that fails keeps nothing of the pod", async (t) => {
  const { table, written, fail } = makeTable(t);
  await table.serve(newId(), [port(1)]);
  fail(true);
  await assert.rejects(table.serve(newId(), [port(2)]), /refused/);
  fail(false);
  await table.serve(newId(), [port(3)]);
  assert.deepEqual(written(), [["1"], ["1", "3"]]);
});

test("`withdraw()` that failed is done by its repetition", async (t) => {
  const { table, written, fail } = makeTable(t);
  const id = newId();
  await table.serve(id, [port(1)]);
  fail(true);
  await assert.rejects(table.withdraw(id), /refused/);
  fail(false);
  await table.withdraw(id);
  assert.deepEqual(written(), [["1"], []]);
});

test("`serve()` of many pods at once shares runs of nft", async (t) => {
  const { table, written } = makeTable(t);
  await Promise.all(Array.from({ length: 20 }, (_, number) => table.serve(newId(), [port(number + 1)])));
  assert.ok(written().length <= 2, `${written().length} runs`);
  assert.equal(written().at(-1)?.length, 20);
});

test("`adopt()` waits for the next `apply()`", async (t) => {
  const { table, written } = makeTable(t);
  table.adopt(newId(), [port(1)]);
  table.adopt(newId(), [port(2)]);
  assert.deepEqual(written(), []);
  await table.apply();
  assert.deepEqual(written(), [["1", "2"]]);
});
