// What a table of nftables holds (nf_tables.h), asked over netlink: nft(8) takes 20 ms for the same.
import { decodeAttributes, stringAttribute } from "./netlink-message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETCHAIN = 4;
const NFT_MSG_GETRULE = 7;
const NFTA_CHAIN_TABLE = 1;
const NFTA_CHAIN_NAME = 3;
const NFTA_CHAIN_HOOK = 4;
const NFTA_CHAIN_POLICY = 5;
const NFTA_HOOK_HOOKNUM = 1;
const NF_INET_FORWARD = 2;
const NF_DROP = 0;
const NFTA_RULE_TABLE = 1;
const NFTA_RULE_CHAIN = 2;
const NFPROTO_INET = 1;
const families = new Map([
  [NFPROTO_INET, "inet"],
  [2, "ip"],
  [10, "ip6"],
]);
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
  return new Set(chains.map(textOf));
}

/** A chain that all forwarded packets pass. */
export interface ForwardChain {
  /** "ip", "ip6" or "inet". */
  family: string;
  table: string;
  name: string;
  /** What it does with packets that no rule of it decides on. */
  policy: "accept" | "drop";
}

/** The chains at the forward hook, of all tables. `socket` is a NETLINK_NETFILTER socket. Throws NetlinkError. */
export async function listForwardChains(socket: NetlinkSocket): Promise<ForwardChain[]> {
  const chains = await socket.dump({
    type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN,
    flags: 0,
    doing: "list the chains of nftables",
    body: Buffer.alloc(header.length),
  });
  return chains.map(({ body }) => decodeForwardChain(body)).filter((chain) => chain !== undefined);
}

function decodeForwardChain(body: Buffer): ForwardChain | undefined {
  const family = families.get(body[0] ?? 0);
  const fields = decodeAttributes(body, header.length);
  const hook = fields.get(NFTA_CHAIN_HOOK);
  if (family === undefined || hook === undefined) return undefined;
  if (decodeAttributes(hook).get(NFTA_HOOK_HOOKNUM)?.readUInt32BE() !== NF_INET_FORWARD) return undefined;
  return {
    family,
    table: textOf(fields.get(NFTA_CHAIN_TABLE)),
    name: textOf(fields.get(NFTA_CHAIN_NAME)),
    policy: fields.get(NFTA_CHAIN_POLICY)?.readUInt32BE() === NF_DROP ? "drop" : "accept",
  };
}

const textOf = (bytes: Buffer | undefined): string => bytes?.toString("utf8").replace(/\0.*$/s, "") ?? "";
