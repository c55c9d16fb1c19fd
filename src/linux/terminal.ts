// What Node's tty module leaves out of terminals.
import { check, libc } from "./libc.ts";

const TIOCSWINSZ = 0x5414;
const OPOST = 1;
const TCSADRAIN = 1;
// struct termios of glibc and musl on 64-bit Linux has 60 bytes; c_oflag is the second word.
const termiosBytes = 60;
const outputFlagsAt = 4;

// int tcgetattr(int fd, struct termios *termios_p);
const cTcgetattr = libc.func("int tcgetattr(int fd, void *termios)");
// int ioctl(int fd, unsigned long request, struct winsize *argument);
const cIoctl = libc.func("int ioctl(int fd, unsigned long request, void *argument)");
// int tcsetattr(int fd, int optional_actions, const struct termios *termios_p);
const cTcsetattr = libc.func("int tcsetattr(int fd, int actions, void *termios)");

/**
 * tcsetattr(3): what is written to the terminal arrives as it is. Node's raw mode leaves output processing on (a line
 * feed becomes carriage return and line feed), which breaks programs that draw. `setRawMode(false)` undoes it.
 */
export function passOutputThrough(fd: number): void {
  const termios = Buffer.alloc(termiosBytes);
  check(cTcgetattr(fd, termios) as number, "tcgetattr");
  termios.writeUInt32LE(termios.readUInt32LE(outputFlagsAt) & ~OPOST, outputFlagsAt);
  check(cTcsetattr(fd, TCSADRAIN, termios) as number, "tcsetattr");
}

/** ioctl_tty(2): the size of a terminal; its foreground processes are told with SIGWINCH. */
export function setTerminalSize(fd: number, rows: number, columns: number): void {
  // struct winsize: rows, columns, and two fields that Linux does not use.
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  check(cIoctl(fd, TIOCSWINSZ, size) as number, "ioctl TIOCSWINSZ");
}
