// Terminals in raw mode. Node's own leaves output processing on (a line feed becomes carriage return and line feed),
// which breaks programs that draw.
import { check, libc } from "./libc.ts";

const OPOST = 1;
const TCSADRAIN = 1;
// struct termios of glibc and musl on 64-bit Linux has 60 bytes; c_oflag is the second word.
const termiosBytes = 60;
const outputFlagsAt = 4;

// int tcgetattr(int fd, struct termios *termios_p);
const cTcgetattr = libc.func("int tcgetattr(int fd, void *termios)");
// int tcsetattr(int fd, int optional_actions, const struct termios *termios_p);
const cTcsetattr = libc.func("int tcsetattr(int fd, int actions, void *termios)");

/** tcsetattr(3): what is written to the terminal arrives as it is. `setRawMode(false)` of node:tty undoes it. */
export function passOutputThrough(fd: number): void {
  const termios = Buffer.alloc(termiosBytes);
  check(cTcgetattr(fd, termios) as number, "tcgetattr");
  termios.writeUInt32LE(termios.readUInt32LE(outputFlagsAt) & ~OPOST, outputFlagsAt);
  check(cTcsetattr(fd, TCSADRAIN, termios) as number, "tcsetattr");
}
