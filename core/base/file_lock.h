/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>

/*
 * Lock the whole file for us alone, by flock(2).  One that is taken is tried again for a moment, as
 * a process that was killed lets go of its files only when its last thread has left them. Returns
 * 0; -EWOULDBLOCK: somebody else has it; or another -errno.  Thread: any; blocks for up to 0.2 s.
 */
int file_lock(int fd);

/*
 * The same patience with other kinds of locks: sleep for a hundredth of a second, or return false
 * as that was done often enough.  `tries` begins with 0.
 */
bool file_lock_again(unsigned *tries);
