/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How many files the process has open, to see that none is left.  Source: proc(5), /proc/pid/fd.
 */

#include "tests/unit/unit.h"

#include <dirent.h>
#include <poll.h>

static inline unsigned fd_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

/*
 * It comes down to what it was.  Whatever lets go on a thread of its own (a porter, a helper) may
 * do so after it has answered, and the thread sanitizer's porters have the process' own table.
 */
static inline void fd_count_is_again(unsigned before)
{
    uint64_t end = now_ns() + 30 * NS_PER_S;

    while (fd_count() > before && now_ns() < end) {
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(fd_count(), before);
}
