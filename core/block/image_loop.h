/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Loop devices: which file's bytes they are, and which of them have those of an image.
 * Thread: any; what is not of the survey may block.
 */

#include <linux/loop.h>
#include <sys/stat.h>

#include "core/base/err.h"

/* For a look: no device is woken or waited for.  -1 with errno. */
int image_loop_open(const char *path);

/* What a loop device is attached to.  Returns false for what is none, or is not attached. */
bool image_loop_get(int fd, dev_t dev, struct loop_info64 *info);

/* Is it attached to this file? */
bool image_loop_is_of(const struct loop_info64 *info, const struct stat *st);

/*
 * For an image that is to be written, open as `fd`.  -EBUSY when a loop device that others have
 * attached has bytes of it.  One that does not answer, as the file system of its file hangs, is
 * logged and left out after a second.
 */
int image_loop_survey(int fd, const char *path, struct err *err);
