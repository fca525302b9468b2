/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who has locked a file: the locks belong to an open file description, so the kernel names no
 * process, but tells of each of a process's files what locks it has.
 * Thread: any; takes as long as all files of all processes take to be looked at.
 */

#include <stdbool.h>
#include <stddef.h>

#define IMAGE_HOLDER_BYTES 96

/*
 * "qemu-system-x86 (pid 123)": a process that has locked bytes of the file that is open as `fd`, by
 * another fd.  Returns false when none is seen: it is another host's, or another user's process.
 */
bool image_holder_find(int fd, char text[IMAGE_HOLDER_BYTES]);
