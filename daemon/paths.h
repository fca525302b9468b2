/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Where sockets and state are when nobody says otherwise; the same for vblkd and vblkctl.
 * Thread: control; paths_make_dir: any.
 */

#include <linux/limits.h>
#include <sys/types.h>

#include "core/base/base.h"
#include "core/base/err.h"

/*
 * Root: /run/vblk and /var/lib/vblk; else $XDG_RUNTIME_DIR/vblk and ${XDG_STATE_HOME:-
 * ~/.local/state}/vblk.  Each returns 0, or -errno with a text that says what to set.
 */
int paths_control(char path[PATH_MAX], struct err *err);
int paths_socket_dir(char path[PATH_MAX], struct err *err);
int paths_state_dir(char path[PATH_MAX], struct err *err);

/* Make a directory and those above it, with that mode; it may be there, and then stays as it is. */
int paths_make_dir(const char *path, mode_t mode, struct err *err);

/* The same for the directory that `file` is in. */
int paths_make_parent(const char *file, mode_t mode, struct err *err);
