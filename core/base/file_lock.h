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
 * As long as the file `path` is locked like that by a process that was killed and has not ended, as
 * I/O of it is under way: wait, and say so in the log, as `what`.  Returns 0: it is free, somebody
 * who lives has it, or that cannot be told; or -ECANCELED: `must_end` has returned true.
 */
int file_lock_await(const char *path, const char *what, bool (*must_end)(void));

/*
 * The same patience with other kinds of locks: sleep for a hundredth of a second, or return false
 * as that was done often enough.  `tries` begins with 0.
 */
bool file_lock_again(unsigned *tries);
