// What a table of nftables holds (nf_tables.h), asked over netlink: nft(8) takes 20 ms for the same.
import { decodeAttributes, stringAttribute } from "./netlink-message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETRULE = 7;
const NFTA_RULE_TABLE = 1;
const NFTA_RULE_CHAIN = 2;
const NFPROTO_INET = 1;
// struct nfgenmsg
const header = Buffer.from([NFPROTO_INET, 0, 0, 0]);

/**
 * Names of the chains of an inet table that have a rule; empty where there is no such table. `socket` is a
 * NETLINK_NETFILTER socket. Throws NetlinkError.
 */
export async function chainsWithRules(socket: NetlinkSocket, table: string): Promise<Set<string>> {
  const rules = await socket.dump({
    type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETRULE,
    flags: 0,
    doing: `list the rules of table ${table}`,
    body: Buffer.concat([header, stringAttribute(NFTA_RULE_TABLE, table)]),
  });
  const chains = rules.map(({ body }) => decodeAttributes(body, header.length).get(NFTA_RULE_CHAIN));
  return new Set(chains.map((name) => name?.toString("utf8").replace(/\0.*$/s, "") ?? ""));
}
