/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What was asked of a disk, struct disk_config: what rows cannot say is checked, what nobody said
 * is filled in, and the disk's thread is given it.
 * Thread: control.
 */

#include "daemon/disk_params.h"

struct plane_opts;

/*
 * Check what a table cannot say, and fill in what depends on the name.
 * Returns 0, or -EINVAL with a text that names the member.
 */
int disk_config_complete(struct disk_config *config, const char *socket_dir, struct err *err);

/*
 * The serial of a disk that was given none: its name where that fits and `attempt` is 0, else the
 * beginning of it and a hash of all of it, another one with each attempt.
 */
void disk_config_default_serial(struct disk_config *config, unsigned attempt);

/*
 * -EINVAL when a disk must not begin so, although one may become so: its guest may have left.
 */
int disk_config_check_new(const struct disk_config *config, struct err *err);

/* What this daemon, on this host, cannot do for a new disk: as disk_socket_check_here, or -EINVAL.
 */
int disk_config_check_here(const struct disk_config *config, struct err *err);

/* -EINVAL for a change that is none of any disk. */
int disk_config_check_values(const struct settings *change, struct err *err);

/* -EINVAL when the change asks for what a disk of this kind does not have. */
int disk_config_check_change(const struct disk_config *config, const struct settings *change,
                             struct err *err);

/* `config` is lent to `opts`: its image's path. */
void disk_config_to_plane(const struct disk_config *config, struct plane_opts *opts);

/* The image is open: what must not be done again, to make it or to look what it is, is settled. */
void disk_config_created(struct disk_config *config);
