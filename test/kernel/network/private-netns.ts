// Runs a test file in a network namespace of its own, so that bridges, rules and sysctls are not the machine's.
import { spawnSync } from "node:child_process";
import { setLinkUp } from "../../../src/linux/netlink-route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "../../../src/linux/netlink-socket.ts";

const marker = "CRICKET_TEST_PRIVATE_NETNS";

/**
 * To be awaited at the top of a test file: starts the file again under unshare(1) and ends this process with its
 * status. The test reporter's protocol goes over standard output and passes through.
 */
export async function enterPrivateNetns(): Promise<void> {
  if (process.env[marker] !== "1") {
    const command = ["--net", "--", process.execPath, ...process.execArgv, ...process.argv.slice(1)];
    const run = spawnSync("unshare", command, { stdio: "inherit", env: { ...process.env, [marker]: "1" } });
    process.exit(run.status ?? 1);
  }
  const socket = NetlinkSocket.open(NETLINK_ROUTE);
  await socket.request([setLinkUp({ name: "lo" })]);
  socket.close();
}

/** Undefined for root, else why tests that make network namespaces cannot run. */
export const skipUnlessRoot = process.getuid?.() === 0 ? false : "needs root";
