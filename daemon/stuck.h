/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a thread that does not answer waits for, as far as the kernel tells: the system call that it
 * is in, and the file.  No file system is asked, so nobody else waits for it.
 * Thread: any.
 * Source: Linux man-pages, proc_pid_syscall(5), proc_pid_stat(5), proc_pid_fd(5).
 */

#include <sys/types.h>

#include "core/base/base.h"
#include "core/base/err.h"

#define STUCK_LINK_BYTES 256 /* of a longer name the end is cut off */
#define STUCK_BYTES (STUCK_LINK_BYTES + 128)

/*
 * "waits in fdatasync on /images/a.img": what `tid`, a thread of this process, does.  `image` is
 * named where the call does not tell more; "" when there is none.
 */
void stuck_on(pid_t tid, const char *image, char text[STUCK_BYTES]);

/* Say in `err` that the thread of `disk` does not answer, and why.  Returns -ETIMEDOUT. */
int stuck_refuse(const char *disk, pid_t tid, const char *image, struct err *err);
