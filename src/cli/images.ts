import { fromInt64 } from "../../cri-api/int64.ts";
import type { v1 } from "../../cri-api/runtime/v1/api.js";
import { defineCommand, exitStatus } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { formatBytes, shortDigest } from "./format.ts";
import { messageToJson } from "./message-json.ts";
import { outputOptions, outputOf } from "./output.ts";
import { renderJson, renderTable } from "./table.ts";

export const images = defineCommand({
  operands: "[IMAGE]",
  summary: "list images",
  options: {
    ...outputOptions,
    quiet: { short: "q", about: "print ids only" },
    digests: { about: "show digests" },
  },
  arity: [0, 1],
  run: (invocation) =>
    withDaemon(invocation, async (client) => {
      const { options, operands, surroundings } = invocation;
      const output = outputOf(options.output);
      const [image] = operands;
      const filter = image === undefined ? {} : { filter: { image: { image } } };
      const { images: found } = await client.image.listImages(filter);
      if (output === "json") surroundings.stdout(renderJson(found.map((entry) => messageToJson(entry, {}))));
      else if (options.quiet) surroundings.stdout(found.map((entry) => `${entry.id}\n`).join(""));
      else surroundings.stdout(table(found, options.digests));
      return exitStatus.ok;
    }),
});

function table(found: readonly v1.Image[], digests: boolean): string {
  const rows = found.flatMap((image) =>
    namesOf(image).map(([name, tag]) => [
      name,
      tag,
      ...(digests ? [digestOf(image, name)] : []),
      shortDigest(image.id),
      formatBytes(fromInt64(image.size)),
    ]),
  );
  const sorted = rows.sort((a, b) => (a.join(" ") < b.join(" ") ? -1 : 1));
  return renderTable(["IMAGE", "TAG", ...(digests ? ["DIGEST"] : []), "IMAGE ID", "SIZE"], sorted);
}

/** One line a tag; an image without a tag shows where it came from. */
function namesOf(image: v1.Image): [name: string, tag: string][] {
  if (image.repoTags.length > 0) return image.repoTags.map(splitTag);
  const names = image.repoDigests.map((digest) => digest.split("@")[0] ?? "");
  return (names.length > 0 ? [...new Set(names)] : ["<none>"]).map((name) => [name, "<none>"]);
}

function splitTag(repoTag: string): [string, string] {
  const colon = repoTag.lastIndexOf(":");
  return [repoTag.slice(0, colon), repoTag.slice(colon + 1)];
}

function digestOf(image: v1.Image, name: string): string {
  const found = image.repoDigests.find((digest) => digest.startsWith(`${name}@`));
  return found?.split("@")[1] ?? "<none>";
}
