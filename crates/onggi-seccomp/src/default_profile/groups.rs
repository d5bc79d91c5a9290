//! The data of the default profile: calls by what they are for, and what each group depends on.

use onggi_oci::runtime::Capability;

use crate::Architecture;

/// Calls that are allowed together.
pub(super) struct Group {
    pub(super) names: &'static str,
    pub(super) when: When,
}

/// When a group is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// With this capability: the kernel asks for it anyway, so without it the call is only an attack surface.
    Capable(Capability),
    /// From this version on.
    Kernel(u32, u32),
    /// Where the machine runs programs of this architecture.
    On(Architecture),
}

const fn always(names: &'static str) -> Group {
    Group { names, when: When::Always }
}

const fn with(capability: Capability, names: &'static str) -> Group {
    Group { names, when: When::Capable(capability) }
}

/// personality(2): Linux, 32-bit addresses' `PER_LINUX32` (8), and both with `UNAME26` (0x20000), which old programs
/// ask for; `0xffffffff` asks what it is. Not `ADDR_NO_RANDOMIZE` or `READ_IMPLIES_EXEC`: they undo hardening.
pub(super) const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Families of socket(2) as mask and value: 0 to 45 without 38 and 40.
///
/// 38 is `AF_ALG`, which let an unprivileged process write to any page cache (CVE-2026-31431). 40 is `AF_VSOCK`, which
/// reaches the hypervisor and other machines on it, past every network namespace.
pub(super) const FAMILIES: [(u64, u64); 7] = [
    (0xffff_ffe0, 0),  // 0 to 31
    (0xffff_fffc, 32), // 32 to 35
    (0xffff_fffe, 36), // 36 and 37
    (0xffff_ffff, 39), // NFC
    (0xffff_ffff, 41), // KCM
    (0xffff_fffe, 42), // QIPCRTR, SMC
    (0xffff_fffe, 44), // XDP, MCTP
];

/// What is allowed.
///
/// In none of them, on purpose: io_uring (a second way to most calls that no filter sees, and a long list of
/// CVEs), userfaultfd (stops the kernel in the middle of a copy), keyctl, add_key and request_key (keyrings have no
/// namespace), kexec, swapon, nfsservctl, move_pages and migrate_pages (other processes' memory), uselib, ustat, sysfs, vm86,
/// lsm_set_self_attr, and calls newer than this list, which get `ENOSYS`.
pub(super) const GROUPS: &[Group] = &[
    // Files: opening, reading, writing.
    always("open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev pwrite64"),
    always("pwritev pwritev2 lseek _llseek dup dup2 dup3 fcntl fcntl64 ioctl flock fsync fdatasync sync syncfs"),
    always("sync_file_range fallocate truncate truncate64 ftruncate ftruncate64 fadvise64 fadvise64_64 readahead"),
    always("copy_file_range sendfile sendfile64 splice tee vmsplice cachestat memfd_create memfd_secret"),
    // Files: names, attributes, directories.
    always("access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx"),
    always("statfs statfs64 fstatfs fstatfs64 chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat"),
    always("lchown lchown32 umask utime utimes utimensat utimensat_time64 futimesat chdir fchdir getcwd getdents"),
    always("getdents64 mkdir mkdirat rmdir mknod mknodat link linkat symlink symlinkat readlink readlinkat rename"),
    always("renameat renameat2 unlink unlinkat name_to_handle_at getxattr lgetxattr fgetxattr setxattr lsetxattr"),
    always("fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr getxattrat setxattrat"),
    always("listxattrat removexattrat inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark"),
    // A container may look at its own mounts.
    always("statmount listmount"),
    // Waiting for several things.
    always("select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl"),
    always("epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4"),
    always("timerfd_create timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64 pipe pipe2"),
    always("io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64"),
    // Memory.
    always("brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall"),
    always("mseal remap_file_pages pkey_alloc pkey_free pkey_mprotect map_shadow_stack membarrier process_mrelease"),
    // Processes and threads; clone has conditions of its own.
    always("fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp"),
    always("getsid setpgid setsid set_tid_address set_robust_list get_robust_list rseq set_thread_area"),
    always("get_thread_area prctl getpriority setpriority ioprio_get ioprio_set getrlimit ugetrlimit setrlimit"),
    always("prlimit64 getrusage times pidfd_open pidfd_send_signal getcpu sysinfo uname"),
    always("sched_yield sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_getattr"),
    always("sched_setattr sched_getaffinity sched_setaffinity sched_get_priority_max sched_get_priority_min"),
    always("sched_rr_get_interval sched_rr_get_interval_time64"),
    // Locks between threads.
    always("futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue"),
    // Signals.
    always("kill tkill tgkill rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_sigreturn rt_sigsuspend"),
    always("rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn pause"),
    always("restart_syscall"),
    // Time. Setting it needs CAP_SYS_TIME, adjtimex asks for it itself and is used for reading.
    always("time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 nanosleep"),
    always("clock_nanosleep clock_nanosleep_time64 clock_adjtime clock_adjtime64 adjtimex alarm getitimer setitimer"),
    always("timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64"),
    // Users, groups, capabilities, and giving rights away.
    always("getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid"),
    always("getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32"),
    always("setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32"),
    always("capget capset seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self getrandom"),
    // Network; socket has conditions of its own.
    always("socketpair socketcall bind connect listen accept accept4 shutdown getsockname getpeername getsockopt"),
    always("setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64"),
    // System V and POSIX interprocess communication.
    always(
        "ipc msgget msgctl msgsnd msgrcv semget semctl semop semtimedop semtimedop_time64 shmget shmctl shmat shmdt",
    ),
    always("mq_open mq_unlink mq_getsetattr mq_notify mq_timedreceive mq_timedreceive_time64 mq_timedsend"),
    always("mq_timedsend_time64"),
    // Before 4.8 a tracer could change a call after the filter had seen it.
    Group { names: "ptrace process_vm_readv process_vm_writev", when: When::Kernel(4, 8) },
    // What an architecture's C library or loader cannot do without.
    Group { names: "arch_prctl modify_ldt uretprobe uprobe", when: When::On(Architecture::X86_64) },
    Group {
        names: "arm_fadvise64_64 sync_file_range2 breakpoint cacheflush set_tls",
        when: When::On(Architecture::Arm),
    },
    // One capability each.
    with(Capability::SysAdmin, "clone clone3 unshare setns mount umount umount2 move_mount mount_setattr open_tree"),
    with(Capability::SysAdmin, "open_tree_attr fsopen fsconfig fsmount fspick fanotify_init quotactl quotactl_fd"),
    with(Capability::SysAdmin, "sethostname setdomainname bpf perf_event_open lookup_dcookie syslog"),
    with(Capability::DacReadSearch, "open_by_handle_at"),
    with(Capability::SysBoot, "reboot"),
    with(Capability::SysChroot, "chroot"),
    with(Capability::SysModule, "init_module finit_module delete_module"),
    with(Capability::SysPacct, "acct"),
    with(Capability::SysPtrace, "kcmp pidfd_getfd process_madvise ptrace process_vm_readv process_vm_writev"),
    with(Capability::SysRawio, "iopl ioperm"),
    with(Capability::SysTime, "settimeofday stime clock_settime clock_settime64"),
    with(Capability::SysTtyConfig, "vhangup"),
    with(Capability::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    with(Capability::Syslog, "syslog"),
    with(Capability::Bpf, "bpf"),
    with(Capability::Perfmon, "perf_event_open"),
];
