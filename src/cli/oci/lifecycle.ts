import { deleteContainer } from "../../oci/runtime/delete.ts";
import { killContainer } from "../../oci/runtime/kill.ts";
import { pauseContainer, resumeContainer } from "../../oci/runtime/pause.ts";
import { startContainer } from "../../oci/runtime/start.ts";
import type { Verb } from "./verb.ts";

export const start: Verb = {
  operands: "CONTAINER",
  summary: "execute the program of a created container",
  flags: {},
  arity: [1, 1],
  async run({ runtime, operands, warn }) {
    await startContainer(runtime, operands[0] ?? "", warn);
    return 0;
  },
};

export const kill: Verb = {
  operands: "CONTAINER [SIGNAL]",
  summary: "send a signal, SIGTERM if none is named",
  flags: { all: { short: "a", help: "to all processes of the container" } },
  arity: [1, 2],
  run({ runtime, operands, flags }) {
    const [id = "", signal = "SIGTERM"] = operands;
    killContainer(runtime, id, signal, flags.switches.has("all"));
    return Promise.resolve(0);
  },
};

export const deleteVerb: Verb = {
  operands: "CONTAINER",
  summary: "remove what is left of a container",
  flags: { force: { short: "f", help: "a running container is killed first" } },
  arity: [1, 1],
  async run({ runtime, operands, flags, warn }) {
    (await deleteContainer(runtime, operands[0] ?? "", flags.switches.has("force"))).forEach(warn);
    return 0;
  },
};

export const pause: Verb = {
  operands: "CONTAINER",
  summary: "stop all processes of a container where they are",
  flags: {},
  arity: [1, 1],
  async run({ runtime, operands }) {
    await pauseContainer(runtime, operands[0] ?? "");
    return 0;
  },
};

export const resume: Verb = {
  operands: "CONTAINER",
  summary: "let a paused container go on",
  flags: {},
  arity: [1, 1],
  run({ runtime, operands }) {
    resumeContainer(runtime, operands[0] ?? "");
    return Promise.resolve(0);
  },
};
