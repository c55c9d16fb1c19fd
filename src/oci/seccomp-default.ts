// The RuntimeDefault seccomp profile: what ordinary programs need, and what their capabilities open up. All else
// answers EPERM, or ENOSYS where it is newer than this list. Left out on purpose: io_uring, kernel keyrings, userfaultfd,
// kexec, swap, kernel modules, and everything by which a process gets at other namespaces or devices.
import type { ProfileRule, SeccompProfile } from "./seccomp-profile.ts";

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Allowed for everybody. */
const ordinary: readonly string[] = [
  // files
  ...words(`
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32
    fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown lchown32 link linkat _llseek lseek
    lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64
    preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat
    renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs statfs64 statx symlink symlinkat
    sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
    utimensat_time64 utimes vmsplice write writev cachestat listmount statmount
  `),
  // extended attributes
  ...words(`
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat
    llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
  `),
  // waiting for descriptors
  ...words(`
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch _newselect pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select
    signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64
  `),
  // asynchronous I/O of the older kind; io_uring is left out, too much of the kernel can be reached past the
  // filter with it
  ...words(`
    io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get
    ioprio_set
  `),
  // sockets other than by socket(2) itself, which is below
  ...words(`
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
  `),
  // System V IPC and message queues
  ...words(`
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
    semtimedop_time64 shmat shmctl shmdt shmget
  `),
  // memory
  ...words(`
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
    mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect process_mrelease remap_file_pages
  `),
  // processes and threads
  ...words(`
    execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv
    futex_wake get_robust_list get_thread_area getcpu getpgid getpgrp getpid getppid getpriority
    getrlimit getrusage getsid gettid kill pause pidfd_open pidfd_send_signal prctl prlimit64
    restart_syscall rseq sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list
    set_thread_area set_tid_address setpgid setpriority setrlimit setsid tgkill tkill ugetrlimit
    uretprobe vfork wait4 waitid waitpid
  `),
  // signals
  ...words(`
    alarm rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn
  `),
  // ids and capabilities; the kernel checks them
  ...words(`
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid
    getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid
    setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32
    setreuid setreuid32 setuid setuid32
  `),
  // clocks and timers; setting a clock is below
  ...words(`
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer
    time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 times
  `),
  // a process narrowing itself
  ...words(`
    landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp
  `),
  // the system
  ...words(`
    getrandom sysinfo uname
  `),
];

const allow = (text: string, conditions: Omit<ProfileRule, "names" | "action"> = {}): ProfileRule => ({
  names: words(text),
  action: "SCMP_ACT_ALLOW",
  ...conditions,
});

const withCapability = (capability: string, text: string): ProfileRule =>
  allow(text, { includes: { caps: [capability] } });

// linux/personality.h: PER_LINUX and PER_LINUX32, each also with UNAME26, and the query.
const personalities = [0x0n, 0x8n, 0x20000n, 0x20008n, 0xffffffffn];

/** All CLONE_NEW* bits but CLONE_NEWTIME, which clone(2) cannot take. */
const cloneNamespaceBits = 0x7e020000n;

// Address families of socket(2). AF_ALG opens the kernel's crypto code to everyone; AF_VSOCK reaches the hypervisor,
// past every network namespace.
const AF_ALG = 38n;
const AF_VSOCK = 40n;
const ENOSYS = 38;

const sockets: ProfileRule[] = [
  allow("socket", { args: [{ index: 0, value: AF_ALG, op: "SCMP_CMP_LT" }] }),
  allow("socket", { args: [{ index: 0, value: AF_ALG + 1n, op: "SCMP_CMP_EQ" }] }),
  allow("socket", { args: [{ index: 0, value: AF_VSOCK, op: "SCMP_CMP_GT" }] }),
];

// New namespaces need CAP_SYS_ADMIN. clone3(2) passes its flags in memory, where a filter cannot look: ENOSYS
// makes the C library fall back to clone(2).
const clones: ProfileRule[] = [
  allow("clone", {
    args: [{ index: 0, value: cloneNamespaceBits, valueTwo: 0n, op: "SCMP_CMP_MASKED_EQ" }],
    excludes: { caps: ["CAP_SYS_ADMIN"] },
  }),
  {
    names: ["clone3"],
    action: "SCMP_ACT_ERRNO",
    errnoRet: ENOSYS,
    excludes: { caps: ["CAP_SYS_ADMIN"] },
  },
];

const byCapability: ProfileRule[] = [
  withCapability("CAP_BPF", "bpf"),
  withCapability("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
  withCapability("CAP_PERFMON", "perf_event_open"),
  withCapability(
    "CAP_SYS_ADMIN",
    `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
     lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open
     quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`,
  ),
  withCapability("CAP_SYS_BOOT", "reboot"),
  withCapability("CAP_SYS_CHROOT", "chroot"),
  withCapability("CAP_SYS_MODULE", "delete_module finit_module init_module"),
  withCapability("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
  withCapability("CAP_SYS_PACCT", "acct"),
  withCapability(
    "CAP_SYS_PTRACE",
    "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
  ),
  withCapability("CAP_SYS_RAWIO", "ioperm iopl"),
  withCapability("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
  withCapability("CAP_SYS_TTY_CONFIG", "vhangup"),
  withCapability("CAP_SYSLOG", "syslog"),
];

const byArchitecture: ProfileRule[] = [
  allow("arch_prctl modify_ldt", { includes: { arches: ["amd64"] } }),
  allow("arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2", {
    includes: { arches: ["arm64"] },
  }),
];

export const defaultSeccompProfile: SeccompProfile = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 1,
  archMap: [
    { architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
    { architecture: "SCMP_ARCH_AARCH64", subArchitectures: ["SCMP_ARCH_ARM"] },
  ],
  syscalls: [
    { names: [...ordinary], action: "SCMP_ACT_ALLOW" },
    // Before 4.8 ptrace(2) was a way around a filter.
    allow("process_vm_readv process_vm_writev ptrace", { includes: { minKernel: "4.8" } }),
    ...sockets,
    ...personalities.map((value) => allow("personality", { args: [{ index: 0, value, op: "SCMP_CMP_EQ" }] })),
    ...clones,
    ...byCapability,
    ...byArchitecture,
  ],
};
