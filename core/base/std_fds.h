/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The file descriptors 0 to 2.  A program may be started without them, and whatever it opens first
 * has their numbers then: what is meant for standard error would be written there.
 * Thread: before there is a second one.
 */

#include "core/base/err.h"

/*
 * First of all: open /dev/null in the place of those that are closed.  Standard output only for
 * reading, so that whoever writes there is told, as before.
 * Returns 0 or -errno.
 */
int std_fds_fill(struct err *err);
