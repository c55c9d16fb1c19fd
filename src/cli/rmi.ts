import { defineCommand, exitStatus } from "./command.ts";
import { withDaemon } from "./connect.ts";
import { forEach } from "./for-each.ts";

export const rmi = defineCommand({
  operands: "IMAGE...",
  summary: "remove images",
  description: "All tags of an image go with it. An image that a container uses stays.",
  options: {},
  arity: [1, Infinity],
  run: (invocation) =>
    withDaemon(invocation, (client) =>
      forEach(invocation, "rmi", async (image) => {
        const { image: found } = await client.image.imageStatus({ image: { image } });
        if (!found) throw new Error("there is no such image");
        await client.image.removeImage({ image: { image: found.id } });
        invocation.surroundings.stdout(`${image}\n`);
        return exitStatus.ok;
      }),
    ),
});
