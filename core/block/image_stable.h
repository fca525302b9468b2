/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "core/base/err.h"

/*
 * What a program has copied lies in the page cache, and so may its name: a guest that was answered
 * that its bytes are stable would lose them with the host's power.
 */

/*
 * Wait until the file that is open as `fd`, and its name `path`, are on stable storage.
 * Returns 0, or -errno with `err` filled.  May block for long.  Thread: any.
 */
int image_stable_make(int fd, const char *path, struct err *err);
