// What the verbs share.
import type { HelperBinary } from "../../linux/helper-binary.ts";
import type { RuntimeStore } from "./container-store.ts";

export interface Runtime {
  store: RuntimeStore;
  /** The static programs; loaded by the verbs that launch something. */
  helper: () => HelperBinary;
}
