// Namespaces that only a spec can ask for, as a container made by the command line sees them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
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

  it("gives a process in a user namespace the limits and the OOM score of the spec", async () => {
    const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const output = await run("cat /proc/self/oom_score_adj; ulimit -n", (spec) => {
      add(spec, { type: "user" });
      spec.linux = { ...spec.linux, uidMappings: mappings, gidMappings: mappings };
      if (spec.process !== undefined)
        spec.process = {
          ...spec.process,
          oomScoreAdj: 77,
          rlimits: [{ type: "RLIMIT_NOFILE", soft: 99n, hard: 99n }],
        };
    });
    assert.equal(output, "77\n99\n");
  });

  it("makes a time namespace with the spec's offsets", async () => {
    const output = await run("cat /proc/self/timens_offsets", (spec) => {
      add(spec, { type: "time" });
      spec.linux = { ...spec.linux, timeOffsets: { boottime: { secs: 1_000_000n } } };
    });
    assert.match(output, /^boottime +1000000 +0$/m);
  });

  const files = {
    cgroup: "cgroup",
    ipc: "ipc",
    mount: "mnt",
    network: "net",
    pid: "pid",
    time: "time",
    user: "user",
    uts: "uts",
  } as const;
  type Type = keyof typeof files;
  const script = Object.values(files)
    .map((file) => `readlink /proc/self/ns/${file}`)
    .join("; ");
  const byType = (text: string): Record<string, string> =>
    Object.fromEntries(Object.keys(files).map((type, index) => [type, text.trim().split("\n")[index] ?? ""]));
  const ofProcess = (pid: number | "self"): Record<string, string> =>
    Object.fromEntries(
      Object.entries(files).map(([type, file]) => [type, readlinkSync(`/proc/${pid}/ns/${file}`)]),
    );
  const ids = [{ containerID: 0, hostID: 100_000, size: 65_536 }];

  it("makes all eight, and leaves those that are not listed as they are", async () => {
    const own = ofProcess("self");
    const all = byType(
      await run(script, (spec) => {
        add(spec, { type: "user" });
        add(spec, { type: "time" });
        spec.linux = { ...spec.linux, uidMappings: ids, gidMappings: ids };
      }),
    );
    for (const type of Object.keys(files)) assert.notEqual(all[type], own[type], type);
    const fewest = byType(
      await run(script, (spec) => {
        delete spec.hostname;
        spec.mounts = spec.mounts?.filter(({ type }) => type !== "sysfs") ?? [];
        spec.linux = { ...spec.linux, namespaces: [{ type: "mount" }] };
      }),
    );
    for (const type of Object.keys(files)) assert.equal(fewest[type] === own[type], type !== "mount", type);
  });

  it("joins all eight by path: what two containers share", async () => {
    const id = fixture.newId();
    fixture.write(["sleep", "1000"], (spec) => {
      add(spec, { type: "user" });
      add(spec, { type: "time" });
      spec.linux = { ...spec.linux, uidMappings: ids, gidMappings: ids };
    });
    await fixture.ok("run", "--detach", id);
    const { pid } = JSON.parse(await fixture.ok("state", id)) as { pid: number };
    const others = Object.keys(files).filter((type) => type !== "mount") as Type[];
    const path = (type: Type): string => `/proc/${pid}/ns/${files[type]}`;
    const joined = byType(
      await run(script, (spec) => {
        delete spec.hostname;
        const namespaces = [
          { type: "mount" as const },
          ...others.map((type) => ({ type, path: path(type) })),
        ];
        spec.linux = { ...spec.linux, namespaces };
      }),
    );
    const theirs = ofProcess(pid);
    for (const type of others) assert.equal(joined[type], theirs[type], type);
    assert.notEqual(joined["mount"], theirs["mount"]);
    await fixture.ok("delete", "--force", id);
  });

  // The root of that namespace stays what it is, for everybody else in it.
  it("joins a mount namespace by path, with a root of its own in it, for execs too", async () => {
    const holder = spawn("unshare", ["--mount", "--propagation", "private", "sleep", "1000"]);
    try {
      const path = `/proc/${holder.pid ?? 0}/ns/mnt`;
      const own = readlinkSync("/proc/self/ns/mnt");
      while (readlinkSync(path) === own) await new Promise((resolve) => setTimeout(resolve, 5));
      const id = fixture.newId();
      fixture.write(["sh", "-c", "readlink /proc/self/ns/mnt; ls /; exec sleep 1000"], (spec) => {
        const namespaces = spec.linux?.namespaces?.filter(({ type }) => type !== "mount") ?? [];
        spec.linux = { ...spec.linux, namespaces: [...namespaces, { type: "mount", path }] };
      });
      await fixture.ok("run", "--detach", id);
      const seen = await fixture.ok("exec", id, "sh", "-c", "readlink /proc/self/ns/mnt; ls /");
      assert.equal(seen, `${readlinkSync(path)}\nbin\ndev\nproc\nsys\n`);
      assert.equal(readlinkSync(`/proc/${holder.pid ?? 0}/root`), "/");
      assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes(fixture.bundle));
      await fixture.ok("delete", "--force", id);
    } finally {
      holder.kill("SIGKILL");
    }
  });

  it("makes a user namespace beside a joined network namespace", async () => {
    const path = "/proc/self/ns/net";
    const output = await run("cat /proc/self/uid_map; readlink /proc/self/ns/net", (spec) => {
      const others = spec.linux?.namespaces?.filter(({ type }) => type !== "network") ?? [];
      // sysfs shows the network namespace and belongs to its owner.
      spec.mounts = spec.mounts?.filter(({ type }) => type !== "sysfs" && type !== "cgroup") ?? [];
      spec.linux = {
        ...spec.linux,
        namespaces: [...others, { type: "network", path }, { type: "user" }],
        uidMappings: ids,
        gidMappings: ids,
      };
    });
    const [map, netns] = output.trim().split("\n");
    assert.deepEqual([map?.trim().split(/ +/), netns], [["0", "100000", "65536"], readlinkSync(path)]);
  });

  it("refuses a path that is a namespace of another type, or none", async () => {
    const withPath = (path: string): Promise<string> =>
      fixture.refusal((spec) => {
        const others = spec.linux?.namespaces?.filter(({ type }) => type !== "network") ?? [];
        spec.linux = { ...spec.linux, namespaces: [...others, { type: "network", path }] };
      });
    assert.match(await withPath("/proc/self/ns/uts"), /setns.*EINVAL/);
    assert.match(await withPath("/proc/self/status"), /EINVAL/);
    assert.match(await withPath("/nowhere"), /linux\.namespaces: network: .*ENOENT/);
  });
});
