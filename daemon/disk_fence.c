/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_fence.h"

#include <inttypes.h>
#include <stdio.h>

/* Source: "The FNV Non-Cryptographic Hash Algorithm" (IETF draft), 64 bits, FNV-1a. */
#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

static uint64_t add_text(uint64_t hash, const char *text)
{
    for (; *text; text++) {
        hash = (hash ^ (uint8_t)*text) * FNV_PRIME;
    }
    return hash;
}

/* Names that differ in their last letter would differ in few bits. */
static uint64_t spread(uint64_t hash)
{
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 33;
}

uint64_t disk_fence(const char *boot, const struct stat *state_dir, const char *name)
{
    char place[64];
    uint64_t hash = add_text(FNV_BASIS, boot);

    (void)snprintf(place, sizeof(place), "/%" PRIu64 "/%" PRIu64 "/", (uint64_t)state_dir->st_dev,
                   (uint64_t)state_dir->st_ino);
    hash = spread(add_text(add_text(hash, place), name));
    return hash ? hash : 1;
}
