/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What was asked of a disk: the parameters of disk.add, and what the state file keeps.
 * Plain values without pointers.  Thread: control.
 */

#include <linux/limits.h>

#include "daemon/params.h"
#include "daemon/plane.h"
#include "daemon/settings.h"

struct image_config {
    char type[8];
    char path[PATH_MAX];
    char cache[16];
    int64_t size;
    int64_t delay_ms;
    bool create;
};

struct disk_config {
    char name[DISK_NAME_BYTES];
    char socket[UNIX_PATH_BYTES];
    char serial[BLK_SERIAL_BYTES + 1];
    struct image_config image;
    struct settings settings;
    bool readonly;
    int64_t queues;
    int64_t queue_size;
    int64_t logical_block_size;  /* 0: as the image suggests */
    int64_t physical_block_size; /* 0: as the image suggests */
};

/* For params_read into a struct disk_config, or into a struct that begins with one. */
extern const struct param disk_config_params[];

/*
 * Check what a table cannot say, and fill in what depends on the name.
 * Returns 0, or -EINVAL with a text that names the member.
 */
int disk_config_complete(struct disk_config *config, const char *socket_dir, struct err *err);

/* -EINVAL when the change asks for what a disk of this kind does not have. */
int disk_config_check_change(const struct disk_config *config, const struct settings *change,
                             struct err *err);

/* `config` is lent to `opts`: its image's path. */
void disk_config_to_plane(const struct disk_config *config, struct plane_opts *opts);

/* The image was made and has its size: what must not be done again is forgotten. */
void disk_config_created(struct disk_config *config);
