// posix_spawn(3) of the static programs. Through FFI it blocks the event loop for 0.1 to 0.3 ms; child_process.spawn takes
// several.
import { errnoName, libc } from "./libc.ts";
import { SyscallError } from "../base/errors.ts";

// int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *file_actions,
//                 const posix_spawnattr_t *restrict attrp, char *const argv[restrict], char *const envp[restrict]);
const cPosixSpawn = libc.func(
  "int posix_spawn(_Out_ int32_t *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)",
);
// int posix_spawn_file_actions_init(posix_spawn_file_actions_t *file_actions); and its family.
const cActionsInit = libc.func("int posix_spawn_file_actions_init(void *actions)");
const cActionsDup2 = libc.func("int posix_spawn_file_actions_adddup2(void *actions, int fd, int newfd)");
const cActionsDestroy = libc.func("int posix_spawn_file_actions_destroy(void *actions)");
// int posix_spawnattr_setsigdefault(posix_spawnattr_t *restrict attr, const sigset_t *restrict sigdefault); and its family.
const cAttributesInit = libc.func("int posix_spawnattr_init(void *attributes)");
const cSetSigDefault = libc.func("int posix_spawnattr_setsigdefault(void *attributes, const void *signals)");
const cSetFlags = libc.func("int posix_spawnattr_setflags(void *attributes, short flags)");
// posix_spawn_file_actions_t has 80 bytes in glibc and musl.
const actionsBytes = 80;
// posix_spawnattr_t has 336 bytes in both, sigset_t 128.
const attributesBytes = 336;
const signalSetBytes = 128;
const POSIX_SPAWN_SETSIGDEF = 4;

/**
 * posix_spawn(3) of `binary`, a descriptor, as "cricket-init" with an empty environment and all signals by default. Its
 * descriptors 0, 1, 2, ... are `fixed`; all others are close-on-exec here. Returns the pid of a child, which the caller
 * reaps. Throws SyscallError.
 */
export function posixSpawn(binary: number, fixed: readonly number[]): number {
  const actions = Buffer.alloc(actionsBytes);
  check(cActionsInit(actions) as number, "posix_spawn_file_actions_init");
  try {
    // Above every descriptor that is moved, so that no move overwrites the source of another.
    const staged = 1 + Math.max(binary, ...fixed);
    const dup2 = (from: number, to: number): void =>
      check(cActionsDup2(actions, from, to) as number, "posix_spawn_file_actions_adddup2");
    // By way of high numbers: one of these may itself be a low one.
    fixed.forEach((fd, index) => dup2(fd, staged + index));
    fixed.forEach((_fd, index) => dup2(staged + index, index));
    const pid = new Int32Array(1);
    const path = `/proc/self/fd/${binary}`;
    check(
      cPosixSpawn(
        pid,
        path,
        actions,
        (attributes ??= defaultSignals()),
        ["cricket-init", null],
        [null],
      ) as number,
      "posix_spawn cricket-init",
    );
    return pid[0]!;
  } finally {
    cActionsDestroy(actions);
  }
}

let attributes: Buffer | undefined;

// All signals as they are by default. The C library would look at each of them otherwise, to the same end, while this
// process waits.
function defaultSignals(): Buffer {
  const made = Buffer.alloc(attributesBytes);
  check(cAttributesInit(made) as number, "posix_spawnattr_init");
  const all = Buffer.alloc(signalSetBytes, 0xff);
  check(cSetSigDefault(made, all) as number, "posix_spawnattr_setsigdefault");
  check(cSetFlags(made, POSIX_SPAWN_SETSIGDEF) as number, "posix_spawnattr_setflags");
  return made;
}

// These calls return the errno instead of setting it.
function check(result: number, call: string): void {
  if (result !== 0) throw new SyscallError(call, errnoName(result));
}
