/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What can be asked of a disk, its image and its settings included: the parameters of disk.add,
 * what the state file keeps, and the options of vblkctl add.  A row that is not one of
 * settings_params is fixed when the disk is added.
 * Plain values without pointers.
 */

#include "core/base/param.h"
#include "core/block/image_type.h"
#include "core/virtio/blk_opts.h"
#include "daemon/settings.h"
#include "transports/unix_socket.h"

#define DISK_NAME_BYTES 64 /* the final NUL included */

struct disk_config {
    char name[DISK_NAME_BYTES];
    char socket[UNIX_PATH_BYTES];
    char socket_mode[8];    /* octal */
    char socket_label[256]; /* "": none is given */
    int64_t socket_owner;   /* -1: vblkd's own */
    int64_t socket_group;   /* -1: as the owner */
    char serial[BLK_SERIAL_BYTES + 1];
    struct image_config image;
    struct settings settings;
    bool readonly;
    bool emulate_512;    /* logical blocks of 512 bytes, whatever the image takes */
    bool incoming;       /* and while its guest is elsewhere */
    bool no_persist;     /* it is in no state file */
    char geometry[16];   /* "": guessed when it is added */
    char as_shown[1024]; /* disk_pin.h, "": as this host has it */
    char discard[4];
    char write_zeroes[4];
    char config_wce[4];
    char packed[4];
    char in_order[4];
    int64_t queues;
    int64_t queue_size;
    int64_t logical_block_size;  /* 0: as the image suggests */
    int64_t physical_block_size; /* 0: as the image suggests */
    int64_t alignment_offset;    /* bytes; 0: as the image suggests */
    int64_t min_io;              /* bytes; 0: as the image suggests */
    int64_t opt_io;              /* bytes; 0: as the image suggests */
    int64_t seg_max;
    int64_t size_max;            /* bytes; 0: nothing is said */
    int64_t discard_granularity; /* bytes; 0: as the image suggests */
    int64_t max_discard;         /* bytes; 0: BLK_DISCARD_MAX */
    int64_t max_discard_segments;
    int64_t max_write_zeroes; /* bytes; 0: BLK_ZEROES_MAX */
    int64_t max_write_zeroes_segments;
};

/* Rows into struct disk_config, or into a struct that begins with one. */
extern const struct param disk_params[];
