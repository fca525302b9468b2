/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a disk takes along when its guest is migrated and no ring tells: what the guest was shown
 * and has accepted, and what its driver has said of its cache.  Small, of one size for a version,
 * in native byte order like the protocol that carries it. Plain values; they come from a front-end,
 * and are checked before anything is made of them.
 */

#include <stdint.h>

#include "core/base/err.h"

struct device;

#define VU_RECORD_VERSION 1u

/* The config space up to what VIRTIO 1.1 has; what came later is not offered. */
#define VU_RECORD_CONFIG_BYTES 60u

enum vu_record_cache {
    VU_RECORD_WRITETHROUGH,
    VU_RECORD_WRITEBACK,
    VU_RECORD_UNKNOWN, /* the source had it from elsewhere itself, and was not told */
};

struct vu_record {
    char magic[8];
    uint32_t version;
    uint32_t bytes;    /* of all of it */
    uint64_t features; /* offered */
    uint64_t accepted; /* of those */
    uint32_t cache;    /* enum vu_record_cache */
    uint8_t config[VU_RECORD_CONFIG_BYTES];
} __attribute__((packed));
_Static_assert(sizeof(struct vu_record) == 96, "the record of version 1");

void vu_record_make(struct vu_record *record, struct device *dev);

/*
 * Can a guest that brings these `count` bytes go on with the device?  What it would see otherwise,
 * and only when it starts anew, goes to `note` ("": nothing). Returns 0, or -EINVAL (it is no such
 * record), or -ESTALE (the disk is another one).
 */
int vu_record_check(const void *bytes, size_t count, const struct device *dev, char *note,
                    size_t note_size, struct err *err);
