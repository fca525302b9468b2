/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/sandbox_caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Each by who would fail without. */
static const unsigned kept[] = {
    CAP_CHOWN,           /* owners of sockets */
    CAP_DAC_OVERRIDE,    /* images of others */
    CAP_DAC_READ_SEARCH, /* and directories above them */
    CAP_FOWNER,          /* modes of sockets that were given away, which are made anew, too */
    CAP_FSETID,          /* directories of sockets with a group */
    CAP_IPC_LOCK,        /* io_uring before Linux 5.12 */
    CAP_MAC_ADMIN,       /* labels of sockets (Smack) */
    CAP_SYS_PTRACE,      /* who holds an image: /proc of others */
    CAP_SYS_RESOURCE,    /* the blocks that a full ext4 keeps for root */
};

static bool is_kept(unsigned cap)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kept); i++) {
        if (kept[i] == cap) {
            return true;
        }
    }
    return false;
}

/* Also of what a program would get that is executed: none is, but it costs nothing. */
void sandbox_caps_bound(void)
{
    for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (!is_kept(cap)) {
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* needs CAP_SETPCAP */
        }
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* Linux 4.3 */
}

int sandbox_caps_limit(struct err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    uint32_t mask[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &header, data) < 0) {
        return err_set(err, -errno, "capabilities");
    }
    for (unsigned i = 0; i < ARRAY_SIZE(kept); i++) {
        mask[CAP_TO_INDEX(kept[i])] |= CAP_TO_MASK(kept[i]);
    }
    sandbox_caps_bound();
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        data[i].permitted &= mask[i];
        data[i].effective &= mask[i];
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) < 0 ? err_set(err, -errno, "capabilities") : 0;
}

bool sandbox_caps_any(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    return syscall(SYS_capget, &header, data) < 0 || data[0].permitted || data[1].permitted;
}
