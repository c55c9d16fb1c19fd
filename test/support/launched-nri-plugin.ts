// An NRI plugin as a program that the daemon launches: it puts its configuration, "KEY=value", into every container.
import { Socket } from "node:net";
import { TestPlugin } from "./nri-plugin.ts";

let config = "";
const plugin = new TestPlugin(new Socket({ fd: Number(process.env["NRI_PLUGIN_SOCKET"]) }), {
  Configure: (request) => {
    ({ config } = request);
    return {};
  },
  CreateContainer: () => {
    const [key = "", value = ""] = config.split("=");
    return { adjust: { env: [{ key, value }] } };
  },
});
await plugin.register(`${process.env["NRI_PLUGIN_IDX"]}-${process.env["NRI_PLUGIN_NAME"]}`);
await plugin.closed;
