// Namespaces that only a spec can ask for, as a container made by the command line sees them.
import assert from "node:assert/strict";
import { readlinkSync } from "node:fs";
import { after, describe, it } from "node:test";
import type { Namespace } from "../../../src/oci/linux-spec.ts";
import type { Spec } from "../../../src/oci/spec.ts";
import { requires } from "../../support/requires.ts";
import { OciFixture } from "./oci-fixture.ts";

describe("namespaces of cricket oci", requires("root", "user-namespaces", "package:busybox-static"), () => {
  const fixture = new OciFixture();
  after(() => fixture.close());

  const run = async (script: string, change: (spec: Spec) => void): Promise<string> => {
    const id = fixture.newId();
    fixture.write(["sh", "-c", script], change);
    const { status, stdout, stderr } = await fixture.run(["run", id]);
    assert.equal(status, 0, stderr);
    return stdout;
  };

  const add = (spec: Spec, namespace: Namespace): void => {
    spec.linux = { ...spec.linux, namespaces: [...(spec.linux?.namespaces ?? []), namespace] };
  };

  it("makes a user namespace with the spec's mappings, in which root owns its files", async () => {
    const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const output = await run("cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c %u /dev", (spec) => {
      add(spec, { type: "user" });
      spec.linux = { ...spec.linux, uidMappings: mappings, gidMappings: mappings };
    });
    const map = "0 100000 65536";
    assert.deepEqual(
      output
        .trim()
        .split("\n")
        .map((line) => line.trim().replace(/ +/g, " ")),
      [map, map, "0", "0"],
    );
  });

  it("makes a time namespace with the spec's offsets", async () => {
    const output = await run("cat /proc/self/timens_offsets", (spec) => {
      add(spec, { type: "time" });
      spec.linux = { ...spec.linux, timeOffsets: { boottime: { secs: 1_000_000n } } };
    });
    assert.match(output, /^boottime +1000000 +0$/m);
  });

  it("joins a network namespace by path", async () => {
    const path = "/proc/self/ns/net";
    const output = await run("readlink /proc/self/ns/net", (spec) => {
      const others = spec.linux?.namespaces?.filter(({ type }) => type !== "network") ?? [];
      spec.linux = { ...spec.linux, namespaces: [...others, { type: "network", path }] };
    });
    assert.equal(output.trim(), readlinkSync(path));
  });
});
