/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_params.h"

#include "core/virtio/ring.h"

#define MEMBER(member) .offset = offsetof(struct disk_config, member)
#define TEXT(member) MEMBER(member), .size = sizeof(((struct disk_config *)NULL)->member)

static const char *const off_on[] = {"off", "on", NULL};

/* VIRTIO 1.2, 5.2.4 "Device configuration layout"; block sizes as blk_opts_resolve allows them. */
const struct param disk_params[] = {
    {"name", PARAM_STRING, TEXT(name), .is_required = true,
     .help = "letters, digits, '.', '_' and '-', beginning with a letter or digit"},
    {"image", PARAM_OBJECT, MEMBER(image), .is_required = true, .members = image_params,
     .help = "where the bytes are"},
    {"readonly", PARAM_BOOL, MEMBER(readonly), .help = "the guest cannot write"},
    {"serial", PARAM_STRING, TEXT(serial), .help = "serial number, up to 20 bytes",
     .otherwise = "made of the name"},
    {"queues", PARAM_INTEGER, MEMBER(queues), .value = 16, .min = 1, .max = BLK_MAX_QUEUES,
     .help = "the most that a guest may use"},
    {"queue_size", PARAM_INTEGER, MEMBER(queue_size), .value = RING_MAX_SIZE, .min = 2,
     .max = RING_MAX_SIZE, .is_power_of_2 = true, .help = "the largest a guest may set"},
    {"logical_block_size", PARAM_BYTES, MEMBER(logical_block_size), .max = 32768,
     .is_power_of_2 = true, .word = "N", .help = "bytes, 512-32768",
     .otherwise = "as the image suggests"},
    {"physical_block_size", PARAM_BYTES, MEMBER(physical_block_size), .max = 1 << 20,
     .is_power_of_2 = true, .word = "N", .help = "bytes", .otherwise = "as the image suggests"},
    {"geometry", PARAM_STRING, TEXT(geometry), .word = "CHS",
     .help = "cylinders, heads and sectors, as 1024,16,63",
     .otherwise = "guessed by the partition table"},
    {"discard", PARAM_STRING, TEXT(discard), .text = "on", .choices = off_on, .word = "SWITCH",
     .help = "what the guest discards is given back"},
    {"write_zeroes", PARAM_STRING, TEXT(write_zeroes), .text = "on", .choices = off_on,
     .word = "SWITCH", .help = "the guest may have ranges zeroed"},
    {"config_wce", PARAM_STRING, TEXT(config_wce), .text = "on", .choices = off_on,
     .word = "SWITCH", .help = "the guest may switch its write cache off and on"},
    SETTINGS_ROW(struct disk_config, settings),
    {"socket", PARAM_PATH, TEXT(socket), .help = "vhost-user socket", .otherwise = "DIR/NAME.sock"},
    {.name = NULL},
};
