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
    {"incoming", PARAM_BOOL, MEMBER(incoming),
     .help = "its guest is migrated here: the image is locked when the first queue starts"},
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
    {"seg_max", PARAM_INTEGER, MEMBER(seg_max), .value = BLK_SEG_MAX, .min = 1,
     .max = BLK_SEG_SERVED, .help = "segments of data that the guest is to put into a request"},
    {"size_max", PARAM_BYTES, MEMBER(size_max), .max = UINT32_MAX,
     .help = "bytes of such a segment", .otherwise = "nothing is said"},
    {"geometry", PARAM_STRING, TEXT(geometry), .word = "CHS",
     .help = "cylinders, heads and sectors, as 1024,16,63",
     .otherwise = "guessed by the partition table"},
    {"discard", PARAM_STRING, TEXT(discard), .text = "on", .choices = off_on, .word = "SWITCH",
     .help = "what the guest discards is given back"},
    {"write_zeroes", PARAM_STRING, TEXT(write_zeroes), .text = "on", .choices = off_on,
     .word = "SWITCH", .help = "the guest may have ranges zeroed"},
    {"discard_granularity", PARAM_BYTES, MEMBER(discard_granularity), .max = 1u << 31,
     .help = "bytes that a discard gives back together", .otherwise = "as the image suggests"},
    {"max_discard", PARAM_BYTES, MEMBER(max_discard), .max = BLK_SECTORS_MAX_BYTES,
     .help = "bytes of one range that the guest is to discard", .otherwise = "1G"},
    {"max_discard_segments", PARAM_INTEGER, MEMBER(max_discard_segments), .value = BLK_RANGES,
     .min = 1, .max = BLK_RANGES_MAX, .help = "ranges of a discard"},
    {"max_write_zeroes", PARAM_BYTES, MEMBER(max_write_zeroes), .max = BLK_SECTORS_MAX_BYTES,
     .help = "bytes of one range that the guest is to have zeroed", .otherwise = "128M"},
    {"max_write_zeroes_segments", PARAM_INTEGER, MEMBER(max_write_zeroes_segments),
     .value = BLK_RANGES, .min = 1, .max = BLK_RANGES_MAX,
     .help = "ranges that are zeroed at once"},
    {"config_wce", PARAM_STRING, TEXT(config_wce), .text = "on", .choices = off_on,
     .word = "SWITCH", .help = "the guest may switch its write cache off and on"},
    {"packed", PARAM_STRING, TEXT(packed), .text = "on", .choices = off_on, .word = "SWITCH",
     .help = "the guest may use packed rings"},
    {"in_order", PARAM_STRING, TEXT(in_order), .text = "off", .choices = off_on, .word = "SWITCH",
     .help = "the guest may have answers in the order of requests"},
    {"as_shown", PARAM_STRING, TEXT(as_shown), .word = "JSON",
     .help = "what the guest is shown, as `vblkctl show --shown` has it elsewhere",
     .otherwise = "as this host has it"},
    SETTINGS_ROW(struct disk_config, settings),
    {"socket", PARAM_PATH, TEXT(socket), .help = "vhost-user socket", .otherwise = "DIR/NAME.sock"},
    {.name = NULL},
};
