/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The descriptor of an image, by its path: what kind of file that is, and how it has to be open.
 * Thread: the opening's.
 */

#include "core/base/err.h"
#include "core/block/image_opts.h"

/* Returns it, or -errno: the refusal says which file, why, and what to do. */
int image_fd_open(const struct image_opts *opts, struct err *err);

/* A device is to be this disk's, as far as the kernel has a say in it. */
bool image_fd_is_claimed(const struct image_opts *opts);

/* Others may write to it as well, which a claim would forbid. */
bool image_fd_has_company(const struct image_opts *opts);
