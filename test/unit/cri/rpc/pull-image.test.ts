import assert from "node:assert/strict";
import { test } from "node:test";
import { v1 } from "../../../../cri-api/runtime/v1/api.js";
import { pullImage } from "../../../../src/cri/rpc/pull-image.ts";
import type { ImageUseCases, NodeUseCases } from "../../../../src/cri/services.ts";
import { refusal } from "../convert/wire.ts";

test("`pullImage()` refuses a runtime handler that is not configured", async () => {
  const images = { pull: () => Promise.resolve({ imageId: "sha256:1" }) } as Partial<ImageUseCases>;
  const node = { hasHandler: (name) => name === "" || name === "runc" } as Partial<NodeUseCases>;
  const parts = { images: images as ImageUseCases, node: node as NodeUseCases };
  const pull = (runtimeHandler: string): Promise<v1.PullImageResponseSent> => {
    const request = v1.PullImageRequest.encode({ image: { image: "busybox", runtimeHandler } }).finish();
    return pullImage(parts, v1.PullImageRequest.decode(request), { signal: new AbortController().signal });
  };
  assert.deepEqual(await pull(""), { imageRef: "sha256:1" });
  assert.deepEqual(await pull("runc"), { imageRef: "sha256:1" });
  const error: unknown = await pull("gvisor").catch((reason: unknown) => reason);
  assert.match(
    refusal(() => {
      throw error;
    }),
    /^image\.runtime_handler is "gvisor"/,
  );
});
