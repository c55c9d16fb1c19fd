// Volumes: of the host, how mounts propagate, recursive read-only ones, and images as volumes (KEP-4639).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { v1 } from "../../cri-api/runtime/v1/api.js";
import type { TestPod } from "../support/node.ts";
import { buildImage, buildLayer } from "../support/test-image.ts";
import { needs, openTarget, security, uniqueName, type Target } from "./target.ts";

const { PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL } = v1.MountPropagation;

describe("conformance: mounts", needs, () => {
  let target: Target;
  let directory: string;

  before(async () => {
    target = await openTarget();
    directory = path.join(target.directory, "volumes");
    fs.mkdirSync(directory);
  });
  after(async () => {
    await target.close();
  });

  const makeVolume = (name: string): string => {
    const volume = path.join(directory, name);
    fs.mkdirSync(volume);
    return volume;
  };

  const create = (pod: TestPod, mount: v1.MountSent) =>
    pod.create({ name: uniqueName(), command: ["sleep", "1000"], more: { mounts: [mount] } });

  /** Runs `body` with a directory that is a shared mount of the host, which this machine may have none of. */
  const withSharedMount = async (name: string, body: (volume: string) => Promise<void>): Promise<void> => {
    const volume = makeVolume(name);
    execFileSync("mount", ["--bind", volume, volume]);
    try {
      execFileSync("mount", ["--make-rshared", volume]);
      fs.mkdirSync(path.join(volume, "sub"));
      await body(volume);
    } finally {
      execFileSync("umount", ["-R", "-l", volume]);
    }
  };

  const mountHere = (volume: string): void => {
    execFileSync("mount", ["-t", "tmpfs", "none", path.join(volume, "sub")]);
    fs.writeFileSync(path.join(volume, "sub", "seen"), "");
  };

  test("a directory of the host is seen and written to, also by a symlink", async () => {
    const volume = makeVolume("plain");
    fs.writeFileSync(path.join(volume, "file"), "of the host\n");
    const link = path.join(directory, "link");
    fs.symlinkSync(volume, link);
    await target.withPod({}, async (pod) => {
      for (const hostPath of [volume, link]) {
        const mounts = [{ hostPath, containerPath: "/volume" }];
        const seen = await target.ask(pod, { mounts }, "cat /volume/file; echo back > /volume/back");
        assert.equal(seen, "of the host\n");
        assert.equal(fs.readFileSync(path.join(volume, "back"), "utf8"), "back\n");
      }
    });
  });

  const propagations = [
    { name: "private", propagation: PROPAGATION_PRIVATE, fromHost: false, toHost: false },
    { name: "host to container", propagation: PROPAGATION_HOST_TO_CONTAINER, fromHost: true, toHost: false },
    { name: "bidirectional", propagation: PROPAGATION_BIDIRECTIONAL, fromHost: true, toHost: true },
  ];
  for (const { name, propagation, fromHost, toHost } of propagations)
    test(`propagation: ${name}`, async () => {
      const privileged = { privileged: true };
      await withSharedMount(`shared-${propagation}`, async (hostPath) => {
        await target.withPod({ linux: { securityContext: privileged } }, async (pod) => {
          const mounts = [{ hostPath, containerPath: "/volume", propagation }];
          const containerId = await target.startSleeping(pod, { ...security(privileged), mounts });
          mountHere(hostPath);
          assert.equal(await target.sh(containerId, "ls /volume/sub"), fromHost ? "seen\n" : "");
          execFileSync("umount", [path.join(hostPath, "sub")]);
          await target.sh(containerId, "mount -t tmpfs none /volume/sub && touch /volume/sub/inside");
          assert.deepEqual(fs.readdirSync(path.join(hostPath, "sub")), toHost ? ["inside"] : []);
        });
      });
    });

  test("read-only: the mount alone, or with what is mounted below it", async (t) => {
    const handlers = (await target.runtime.status({})).runtimeHandlers;
    const recursive = handlers.some(({ features }) => features?.recursiveReadOnlyMounts === true);
    const script = "touch /volume/x; touch /volume/sub/x && echo below";
    await withSharedMount("read-only", async (hostPath) => {
      mountHere(hostPath);
      await target.withPod({}, async (pod) => {
        const plain = { hostPath, containerPath: "/volume", readonly: true };
        const seen = await target.ask(pod, { mounts: [plain] }, script);
        assert.match(seen, /\/volume\/x: Read-only file system/);
        assert.match(seen, /below/);
        if (!recursive) return t.skip("no runtime handler has recursive_read_only_mounts");
        const all = { ...plain, recursiveReadOnly: true };
        assert.match(
          await target.ask(pod, { mounts: [all] }, script),
          /\/volume\/x: Read-only file system(.|\n)*\/volume\/sub\/x: Read-only file system/,
        );
        const { PROPAGATION_BIDIRECTIONAL: both, PROPAGATION_HOST_TO_CONTAINER: slave } = v1.MountPropagation;
        for (const wrong of [{ readonly: false }, { propagation: both }, { propagation: slave }])
          await assert.rejects(create(pod, { ...all, ...wrong }));
      });
    });
  });

  describe("an image as a volume", () => {
    let image: string;
    let isSupported: boolean;

    before(async () => {
      const layer = await buildLayer([
        { name: "file", content: "of an image\n" },
        { name: "below", type: "directory" },
        { name: "below/other", content: "below\n" },
      ]);
      image = await target.pull("test/volume", "1", buildImage([layer]));
      const pod = await target.runPod();
      try {
        await create(pod, volume({}));
        isSupported = true;
      } catch {
        isSupported = false;
      } finally {
        await pod.remove();
      }
    });

    const volume = (more: v1.MountSent): v1.MountSent => ({
      containerPath: "/volume",
      image: { image },
      readonly: true,
      ...more,
    });
    const unsupported = (): string => "the runtime has no image volumes";

    test("is there, read-only, with its reference in the status", async (t) => {
      if (!isSupported) return t.skip(unsupported());
      await target.withPod({}, async (pod) => {
        const containerId = await target.startSleeping(pod, { mounts: [volume({})] });
        const seen = await target.sh(containerId, "cat /volume/file; touch /volume/x");
        assert.match(seen, /^of an image\n.*Read-only file system/);
        const { status } = await target.runtime.containerStatus({ containerId });
        const mount = status?.mounts.find(({ containerPath }) => containerPath === "/volume");
        assert.equal(mount?.image?.image, image);
        assert.match(mount?.image?.imageRef ?? "", /sha256:/);
      });
    });

    test("can be a part of it, which must be there", async (t) => {
      if (!isSupported) return t.skip(unsupported());
      await target.withPod({}, async (pod) => {
        const mounts = [volume({ imageSubPath: "below" })];
        assert.equal(await target.ask(pod, { mounts }, "ls /volume"), "other\n");
        await assert.rejects(create(pod, volume({ imageSubPath: "no/such/path" })));
        await assert.rejects(create(pod, volume({ imageSubPath: "../../etc" })));
      });
    });

    test("is never writable", async (t) => {
      if (!isSupported) return t.skip(unsupported());
      await target.withPod({}, async (pod) => {
        await assert.rejects(create(pod, volume({ readonly: false })));
      });
    });
  });
});
