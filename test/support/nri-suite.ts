// A daemon for the tests of one file, and NRI plugins on it.
import { after, before } from "node:test";
import { toInt64 } from "../../cri-api/int64.ts";
import { startNode, type TestNode, type TestPod } from "./node.ts";
import { withPlugin, type PluginAnswers, type TestPlugin } from "./nri-plugin.ts";

export interface NriSuite {
  readonly node: TestNode;
  /** Runs `body` with a connected plugin and a pod; both are gone afterwards. */
  withPlugin(
    name: string,
    answers: PluginAnswers,
    body: (plugin: TestPlugin, pod: TestPod) => Promise<void>,
  ): Promise<void>;
  /** What a shell in the container prints. */
  ask(containerId: string, script: string): Promise<string>;
}

/** What a container runs that only has to be there. */
export const sleeping = { command: ["sleep", "1000"] };

/** To be called in a `describe`. The node is there while its tests run. */
export function nriSuite(settings: Record<string, string | number> = {}): NriSuite {
  let node: TestNode;
  before(async () => {
    node = await startNode({ settings });
  });
  after(async () => {
    await node.close();
  });
  return {
    get node() {
      return node;
    },
    withPlugin: (name, answers, body) => withPlugin(node, name, answers, body),
    async ask(containerId, script) {
      const request = { containerId, cmd: ["sh", "-c", script], timeout: toInt64(10n) };
      const { stdout, stderr } = await node.runtime.execSync(request);
      return Buffer.concat([stdout, stderr]).toString();
    },
  };
}
