/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sandbox_calls.h"

#include <config.h>

#include <errno.h>

#ifdef HAVE_LIBSECCOMP

/* Sanitizers call what they like: there, only what is refused by name is. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VBLK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VBLK_SANITIZED 1
#endif
#endif

#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "core/base/base.h"

/*
 * By name, as which there are differs by architecture and by libseccomp; unknown ones are left out.
 * Without conditions: the kernel keeps a bitmap of those, so that they cost nothing (Linux 5.11).
 */
static const char *const plain[] = {
    /* the data path: engines, rings, sockets */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "io_setup",
    "io_submit",
    "io_getevents",
    "io_pgetevents",
    "io_cancel",
    "io_destroy",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "fallocate",
    "ftruncate",
    "lseek",
    "sendmsg",
    "recvmsg",
    "sendto",
    "recvfrom",
    "accept",
    "accept4",
    "shutdown",
    "eventfd2",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    /* loops and threads */
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "futex",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "set_robust_list",
    "rseq",
    "membarrier",
    "gettid",
    "exit",
    "exit_group",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "getcpu",
    "getrusage",
    /* memory */
    "brk",
    "munmap",
    "mremap",
    "madvise",
    "mincore",
    "msync",
    "memfd_create",
    /* file descriptors */
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "flock",
    "pipe2",
    "fstat",
    "fstatfs",
    "getdents64",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    /* names */
    "open",
    "openat",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getcwd",
    "mkdir",
    "mkdirat",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "fchownat",
    "setxattr",
    "umask",
    /* sockets that are made */
    "bind",
    "listen",
    "connect",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    /* who and where we are */
    "getpid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "capget",
    "uname",
    "sysinfo",
    "getrandom",
    "getrlimit",
    "alarm",
    "fadvise64",
};

/* They fail as if they were not allowed, and not as if there were none. */
static const char *const refused[] = {
    "execve",
    "execveat",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
    "capset",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "bpf",
    "perf_event_open",
    "process_vm_writev",
    "pidfd_getfd",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "keyctl",
    "add_key",
    "request_key",
    "mknod",
    "mknodat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "open_by_handle_at",
    "userfaultfd",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "settimeofday",
    "clock_settime",
    "sethostname",
    "iopl",
    "ioperm",
#ifndef VBLK_SANITIZED
    "fork",
    "vfork",
    "ptrace",
    "kill",
    "tkill",
    "personality",
    "process_vm_readv",
#endif
};

static const unsigned long controls[] = {
    BLKGETSIZE64, BLKSSZGET,  BLKPBSZGET,        BLKALIGNOFF, BLKIOMIN, BLKIOOPT,
    BLKDISCARD,   BLKZEROOUT, LOOP_GET_STATUS64, FIONREAD,    FIONBIO,  TCGETS,
};

#define NEW_NAMESPACES                                                                            \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)

#ifdef VBLK_SANITIZED
#define UNLISTED SCMP_ACT_ALLOW
#else
#define UNLISTED SCMP_ACT_ERRNO(ENOSYS)
#endif

/* Of a call that this architecture, or libseccomp, does not know there is nothing to allow. */
static int add_rule(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned count,
                    struct scmp_arg_cmp condition)
{
    int number = seccomp_syscall_resolve_name(name);
    int ret;

    if (number < 0 || action == UNLISTED) {
        return 0;
    }
    ret = seccomp_rule_add_array(filter, action, number, count, count ? &condition : NULL);
    return ret == -EEXIST ? 0 : ret;
}

static int allow_if(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp condition)
{
    return add_rule(filter, SCMP_ACT_ALLOW, name, 1, condition);
}

static int refuse(scmp_filter_ctx filter, const char *name)
{
    return add_rule(filter, SCMP_ACT_ERRNO(EPERM), name, 0, (struct scmp_arg_cmp){0});
}

static int add_plain(scmp_filter_ctx filter)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(plain); i++) {
        ret = add_rule(filter, SCMP_ACT_ALLOW, plain[i], 0, (struct scmp_arg_cmp){0});
    }
    return ret;
}

static int add_refused(scmp_filter_ctx filter)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(refused); i++) {
        ret = refuse(filter, refused[i]);
    }
    return ret;
}

/* Memory is for data: no code is loaded or made after the start. */
static int add_memory(scmp_filter_ctx filter)
{
    static const char *const names[] = {"mmap", "mprotect"};
    const struct scmp_arg_cmp data = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    const struct scmp_arg_cmp code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC);
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(names); i++) {
        ret = allow_if(filter, names[i], data);
        if (ret == 0) {
            ret = add_rule(filter, SCMP_ACT_ERRNO(EPERM), names[i], 1, code);
        }
    }
    return ret;
}

/*
 * Threads, and no process or namespace.  Flags of clone3 lie in memory, where no filter can look:
 * it is unknown, and the C library falls back to clone.
 */
static int add_threads(scmp_filter_ctx filter)
{
    int ret = allow_if(filter, "prlimit64", SCMP_A0(SCMP_CMP_EQ, 0));

    if (ret == 0) {
        ret = allow_if(filter, "tgkill", SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    }
    if (ret == 0) {
        ret = allow_if(filter, "clone",
                       SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | NEW_NAMESPACES, CLONE_THREAD));
    }
    if (ret == 0) {
        ret = allow_if(filter, "prctl", SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    }
    return ret;
}

static int add_devices(scmp_filter_ctx filter)
{
    int ret = allow_if(filter, "socket", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));

    if (ret == 0) {
        ret = allow_if(filter, "socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    }
    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(controls); i++) {
        /* The kernel looks at 32 bits of it. */
        ret = allow_if(filter, "ioctl",
                       SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, controls[i] & 0xffffffffu));
    }
    return ret;
}

static int fill(scmp_filter_ctx filter)
{
    int ret = add_plain(filter);

    if (ret == 0) {
        ret = add_refused(filter);
    }
    if (ret == 0) {
        ret = add_memory(filter);
    }
    if (ret == 0) {
        ret = add_threads(filter);
    }
    return ret == 0 ? add_devices(filter) : ret;
}

int sandbox_calls_limit(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(UNLISTED);
    int ret = filter ? fill(filter) : -ENOMEM;

    if (ret == 0) {
        /* A tree, not a list: what has conditions is found sooner.  Old versions have lists only.
         */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        (void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
        ret = seccomp_load(filter);
    }
    seccomp_release(filter);
    return ret < 0 ? err_set(err, ret, "seccomp") : 0;
}

#else

int sandbox_calls_limit(struct err *err)
{
    return err_say(err, -ENOSYS, "seccomp: built without libseccomp");
}

#endif
