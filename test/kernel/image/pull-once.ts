// A process of its own that pulls or removes an image and may be killed on the way by a failpoint:
// `pull-once.ts ROOT REGISTRY pull|remove REFERENCE`.
import { openImages } from "./open-images.ts";

const [root = "", registry = "", verb = "", reference = ""] = process.argv.slice(2);
const { images, layers } = await openImages(root, registry);
if (verb === "pull") await images.pull({ reference });
else await images.remove(reference, new Set());
await layers.close();
