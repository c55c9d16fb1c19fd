import assert from "node:assert/strict";
import { test } from "node:test";
import { derivePaths } from "../../../src/config/paths.ts";

test("`derivePaths()` keeps what dies with the boot and what does not apart", () => {
  const paths = derivePaths({ stateRoot: "/s", runRoot: "/r" });
  assert.equal(paths.sandboxShm("ab"), "/r/sandboxes/ab/shm");
  assert.equal(paths.containerMonitorSocket("ab"), "/r/containers/ab/monitor.sock");
  assert.equal(paths.netnsPath("ab"), "/r/netns/ab");
  assert.equal(paths.containerLayerDir("ab"), "/s/containers/ab");
  assert.equal(paths.blobsRoot, "/s/blobs/sha256");
  assert.equal(paths.layersRoot, "/s/layers");
  assert.equal(paths.imagesRoot, "/s/images");
});
