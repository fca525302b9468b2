/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who may connect to a disk's socket, as it was asked for.
 * Thread: control.
 */

#include "daemon/disk_params.h"

struct plane_opts;

/* Is it well said?  Returns 0 or -EINVAL; a disk of the state file is asked as well. */
int disk_socket_check(const struct disk_config *config, struct err *err);

/*
 * Can this daemon, here, do that for a new disk?  Returns 0; -EPERM: it may not give files away;
 * -ENOTSUP: the kernel has no labels.
 */
int disk_socket_check_here(const struct disk_config *config, struct err *err);

void disk_socket_to_plane(const struct disk_config *config, struct plane_opts *opts);
