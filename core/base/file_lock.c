/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/file_lock.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

#include "core/base/base.h"

#define MOMENT_MS 10
#define MOMENTS 20u

bool file_lock_again(unsigned *tries)
{
    const struct timespec moment = {.tv_nsec = MOMENT_MS * NS_PER_MS};

    if (*tries == MOMENTS) {
        return false;
    }
    ++*tries;
    (void)nanosleep(&moment, NULL);
    return true;
}

static int try_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

int file_lock(int fd)
{
    unsigned tries = 0;
    int ret = try_lock(fd);

    while (ret == -EWOULDBLOCK && file_lock_again(&tries)) {
        ret = try_lock(fd);
    }
    return ret;
}
