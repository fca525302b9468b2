/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/lock_holder.h"

#include <time.h>
#include <unistd.h>

static int held_fd = -1;

int __real_nanosleep(const struct timespec *time, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *time, struct timespec *rest);

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    if (held_fd >= 0) {
        close(held_fd);
        held_fd = -1;
    }
    return __real_nanosleep(time, rest);
}

void lock_holder_begin(int fd)
{
    held_fd = fd;
}

bool lock_holder_has_let_go(void)
{
    return held_fd < 0;
}
