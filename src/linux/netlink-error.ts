// A request that the kernel refused over netlink.
import { SyscallError } from "../base/errors.ts";

/** `create veth crk0123 on cricket0: EEXIST (Invalid argument ...)`: the errno and the kernel's own words. */
export class NetlinkError extends SyscallError {
  /** The text of the extended acknowledgement, "" where the kernel sent none. */
  readonly explanation: string;

  constructor(doing: string, errno: string, explanation: string) {
    super(doing, errno);
    this.name = "NetlinkError";
    this.explanation = explanation;
    if (explanation !== "") this.message = `${doing}: ${errno} (${explanation})`;
  }
}
