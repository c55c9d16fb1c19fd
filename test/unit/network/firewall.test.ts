import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { Log } from "../../../src/base/log.ts";
import type { ForwardChain } from "../../../src/linux/netlink-nftables.ts";
import { Firewall } from "../../../src/network/firewall.ts";
import { parseSubnet } from "../../../src/network/subnet.ts";

interface FakeHost {
  firewall: Firewall;
  log: string[];
  /** The command lines of the tools so far. */
  calls(): string[];
}

/** A host that has these tools: each notes its arguments and ends as the script says. */
function makeHost(
  t: TestContext,
  tools: Record<string, string>,
  { subnet6 = false, chains = [] }: { subnet6?: boolean; chains?: ForwardChain[] } = {},
): FakeHost {
  const directory = mkdtempSync(join(tmpdir(), "cricket-firewall-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const journal = join(directory, "journal");
  for (const [name, script] of Object.entries(tools))
    writeFileSync(join(directory, name), `#!/bin/sh\necho "${name} $*" >> ${journal}\n${script}\n`, {
      mode: 0o755,
    });
  const log: string[] = [];
  const subnets = [parseSubnet("10.88.0.0/16", "subnet")];
  if (subnet6) subnets.push(parseSubnet("fd00:88::/64", "subnet6"));
  const find = (name: string): string | undefined => (name in tools ? join(directory, name) : undefined);
  const firewall = new Firewall(
    { bridgeName: "cricket0", subnets },
    find,
    new Log({ write: (line) => log.push(line) }),
    () => Promise.resolve(chains),
  );
  return {
    firewall,
    log,
    calls: () => (existsSync(journal) ? readFileSync(journal, "utf8").trim().split("\n") : []),
  };
}

const drain = "cat > /dev/null";
const match = "POSTROUTING -s 10.88.0.0/16 ! -d 10.88.0.0/16 ! -o cricket0 -j MASQUERADE";

test("`ensure()` writes the nft table once", async (t) => {
  const host = makeHost(t, { nft: drain, iptables: "" });
  await host.firewall.ensure();
  await host.firewall.ensure();
  assert.deepEqual([host.calls(), host.firewall.limitation], [["nft -f -"], ""]);
  assert.ok(host.firewall.table !== undefined);
});

test("`ensure()` takes iptables where nft is missing, and adds a rule only if it is not there", async (t) => {
  const host = makeHost(t, { iptables: '[ "$5" = -A ]' });
  await host.firewall.ensure();
  assert.deepEqual(host.calls(), [`iptables -w 5 -t nat -C ${match}`, `iptables -w 5 -t nat -A ${match}`]);
  const again = makeHost(t, { iptables: "" });
  await again.firewall.ensure();
  assert.deepEqual(again.calls(), [`iptables -w 5 -t nat -C ${match}`]);
  assert.equal(again.firewall.table, undefined);
});

test("`ensure()` takes iptables where the kernel refuses nft's rules, and says so", async (t) => {
  const host = makeHost(t, { nft: "echo 'netlink: Error: no tables' >&2; exit 1", iptables: "" });
  await host.firewall.ensure();
  assert.equal(host.firewall.table, undefined);
  assert.equal(host.firewall.limitation, "");
  assert.match(host.log.join(), /nft rules could not be set.*no tables/);
});

test("`ensure()` on a host without tools does not fail: the limitation is told", async (t) => {
  const host = makeHost(t, {});
  await host.firewall.ensure();
  assert.match(host.firewall.limitation, /^pods reach only this node and each other/);
  assert.match(host.log.join(), /nft was not found; iptables was not found/);
});

test("`ensure()` needs ip6tables for an IPv6 subnet", async (t) => {
  const host = makeHost(t, { iptables: "" }, { subnet6: true });
  await host.firewall.ensure();
  assert.match(host.log.join(), /ip6tables was not found/);
});

test("`remove()` deletes what `ensure()` made", async (t) => {
  const host = makeHost(t, { iptables: "" });
  await host.firewall.ensure();
  await host.firewall.remove();
  assert.deepEqual(host.calls().slice(1), [`iptables -w 5 -t nat -D ${match}`]);
});

const ofIptables: ForwardChain = { family: "ip", table: "filter", name: "FORWARD", policy: "drop" };
const forward = (command: string, direction: string): string =>
  `iptables -w 5 ${command} FORWARD ${direction} cricket0 -j ACCEPT`;

test("`ensure()` lets pods through where docker has iptables drop what is forwarded", async (t) => {
  const host = makeHost(t, { nft: drain, iptables: '[ "$3" != -C ]' }, { chains: [ofIptables] });
  await host.firewall.ensure();
  assert.deepEqual(
    host.calls().filter((call) => !call.startsWith("nft")),
    [forward("-C", "-i"), forward("-A", "-i"), forward("-C", "-o"), forward("-A", "-o")],
  );
  assert.equal(host.firewall.limitation, "");
  await host.firewall.remove();
  assert.deepEqual(host.calls().slice(-3, -1), [forward("-D", "-i"), forward("-D", "-o")]);
});

test("`ensure()` leaves a policy that accepts alone, and the rules of a family without pods", async (t) => {
  const chains: ForwardChain[] = [
    { ...ofIptables, policy: "accept" },
    { ...ofIptables, family: "ip6" },
  ];
  const host = makeHost(t, { nft: drain, iptables: "", ip6tables: "" }, { chains });
  await host.firewall.ensure();
  assert.deepEqual([host.calls(), host.firewall.limitation], [["nft -f -"], ""]);
});

for (const [what, chain, expected] of [
  [
    "an operator's own",
    { family: "inet", table: "filter", name: "forward", policy: "drop" },
    /^chain inet filter forward drops what pods send beyond their bridge, unless a rule of it accepts$/,
  ],
  [
    "firewalld",
    { family: "inet", table: "firewalld", name: "filter_FORWARD", policy: "accept" },
    /^firewalld may reject .*firewall-cmd --zone=trusted --add-interface=cricket0$/,
  ],
  ["iptables without its tool", ofIptables, /^chain ip filter FORWARD drops .*: iptables was not found$/],
] as const)
  test(`\`limitation\` names a firewall that may be in the way: ${what}`, async (t) => {
    const host = makeHost(t, { nft: drain }, { chains: [chain] });
    await host.firewall.ensure();
    assert.match(host.firewall.limitation, expected);
    await host.firewall.tend();
    assert.equal(host.log.filter((line) => expected.test(/"(.*)"/.exec(line)?.[1] ?? "")).length, 1);
  });
