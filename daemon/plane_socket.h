/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's socket, whose file may be deleted while a front-end is connected or none is.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* As they were asked for, with the label where the kernel knows any; else the log says so. */
struct socket_rights plane_socket_rights(const struct plane *plane);

/* Where it lies in the daemon's own directory, and that has gone.  Returns 0 or -errno. */
int plane_make_socket_dir(struct plane *plane, struct err *err);

/*
 * Is it in its place?  Returns 0; 1: it had gone and was made anew; or -errno with a sentence,
 * which is also kept for those who ask, until it can be made.
 */
int plane_look_at_socket(struct plane *plane, struct err *err);
