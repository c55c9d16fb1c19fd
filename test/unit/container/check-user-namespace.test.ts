import assert from "node:assert/strict";
import { test } from "node:test";
import { checkUserNamespace } from "../../../src/container/check-user-namespace.ts";
import type { ContainerConfig } from "../../../src/container/container-config.ts";
import type {
  NamespaceOptions,
  SandboxConfig,
  UserNamespaceOptions,
} from "../../../src/sandbox/sandbox-config.ts";
import { containerConfig, security } from "./container-fixtures.ts";

const ids = (hostId: number) => [{ hostId, containerId: 0, length: 65_536 }];
const pod = (uids: number, gids = uids): UserNamespaceOptions => ({
  mode: "pod",
  uids: ids(uids),
  gids: ids(gids),
});
const node: UserNamespaceOptions = { mode: "node", uids: [], gids: [] };
const withUser = (user?: UserNamespaceOptions): NamespaceOptions => ({
  ...security().namespaces,
  ...(user === undefined ? {} : { user }),
});

function check(
  ofSandbox: UserNamespaceOptions | undefined,
  ofContainer: UserNamespaceOptions | undefined,
  mounts: ContainerConfig["mounts"] = [],
): void {
  const sandbox = { security: { namespaces: withUser(ofSandbox) } } as SandboxConfig;
  checkUserNamespace(
    sandbox,
    containerConfig({ security: security({ namespaces: withUser(ofContainer) }), mounts }),
  );
}

const cases: [UserNamespaceOptions | undefined, UserNamespaceOptions | undefined, isSame: boolean][] = [
  [undefined, undefined, true],
  [undefined, node, true],
  [node, undefined, true],
  [pod(1000), pod(1000), true],
  [pod(1000), pod(2000), false],
  [pod(1000), pod(1000, 2000), false],
  [pod(1000), undefined, false],
  [pod(1000), node, false],
  [node, pod(1000), false],
];
for (const [ofSandbox, ofContainer, isSame] of cases)
  test(`\`checkUserNamespace()\` ${isSame ? "takes" : "refuses"} ${JSON.stringify([ofSandbox, ofContainer])}`, () => {
    if (isSame) check(ofSandbox, ofContainer);
    else
      assert.throws(() => check(ofSandbox, ofContainer), {
        code: "invalid-argument",
        message: /is not the same/,
      });
  });

test("`checkUserNamespace()` takes images only with the mappings of the pod", () => {
  const image = (hostId?: number): ContainerConfig["mounts"][number] => ({
    containerPath: "/v",
    hostPath: "",
    readonly: true,
    recursiveReadOnly: false,
    propagation: "private",
    selinuxRelabel: false,
    uidMappings: hostId === undefined ? [] : ids(hostId),
    gidMappings: hostId === undefined ? [] : ids(hostId),
    image: { reference: "x", userSpecified: "", subPath: "" },
  });
  check(pod(1000), pod(1000), [image(), image(1000)]);
  check(undefined, undefined, [image()]);
  assert.throws(() => check(pod(1000), pod(1000), [image(2000)]), { message: /mounts\[0\]\.uidMappings/ });
  assert.throws(() => check(undefined, undefined, [image(1000)]), { message: /mounts\[0\]\.uidMappings/ });
});

test("`checkUserNamespace()` refuses mounts that would travel to the host", () => {
  const mount = {
    containerPath: "/v",
    hostPath: "/v",
    readonly: false,
    recursiveReadOnly: false,
    propagation: "bidirectional" as const,
    selinuxRelabel: false,
    uidMappings: [],
    gidMappings: [],
  };
  check(undefined, undefined, [mount]);
  assert.throws(() => check(pod(1000), pod(1000), [mount]), {
    code: "invalid-argument",
    message: /mounts\[0\]/,
  });
});
