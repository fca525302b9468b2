/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The room of a new file, taken before anybody uses it.
 */

#include "core/base/err.h"
#include "core/block/image_opts.h"
#include "core/block/image_progress.h"

/*
 * Allocate all of the file that is open as `fd` and has its size, opts->size, as
 * opts->preallocation says; direct I/O allows its end.  What has been written is on stable storage
 * then.  opts->progress is told, and asked now and then: -ECANCELED. Returns 0, or -errno with
 * `err` filled.  Takes as long as the file is large.
 */
int image_allocate(int fd, const struct image_opts *opts, bool is_direct, struct err *err);
