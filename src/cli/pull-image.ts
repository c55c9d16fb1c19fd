// A pull with bars on a terminal, for `pull` and `run`.
import type { CriClient } from "../../cri-api/client.ts";
import { ExitError, exitStatus, type Surroundings } from "./command.ts";
import { ProgressBars } from "./progress-bars.ts";

export interface PullChoice {
  image: string;
  username?: string;
  password?: string;
  quiet: boolean;
}

/** Pulls and returns the image's id; Ctrl-C ends the pull. */
export async function pullImage(
  client: CriClient,
  { image, username = "", password = "", quiet }: PullChoice,
  { stderr, columns, interrupted }: Surroundings,
): Promise<string> {
  const bars = columns === undefined || quiet ? undefined : new ProgressBars(stderr, columns);
  let imageId = "";
  try {
    for await (const progress of client.cricket.pullImage(
      { image, username, password },
      { signal: interrupted },
    )) {
      bars?.draw(progress.layers);
      imageId = progress.imageId;
    }
  } finally {
    bars?.clear();
  }
  if (imageId === "") throw new ExitError(exitStatus.failure, "the daemon ended the pull without an image");
  return imageId;
}
