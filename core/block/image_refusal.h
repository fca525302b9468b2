/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is said of a file that cannot be opened as an image, and what to do about it.
 * Thread: any; may block.
 */

#include "core/base/err.h"
#include "core/block/image_opts.h"

/* What helps is an option of `vblkctl add`, which other commands do not have. */
void image_refusal_option(const struct image_opts *opts, struct err *err, const char *option);

/* `code` is open's -errno, and returned. */
int image_refusal_open(int code, const struct image_opts *opts, struct err *err);
