/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_chs.h"

#include <stdlib.h>
#include <unistd.h>

#define PARTITIONS 4u
#define PARTITION_AT 446u
#define PARTITION_BYTES 16u

/* Of a partition: its last head and sector (with cylinder bits above), and its length. */
#define LAST_HEAD_AT 5u
#define LAST_SECTOR_AT 6u
#define LENGTH_AT 12u

/* More of them are a BIOS's translation, and not the disk's. */
#define MOST_HEADS 16u

static bool is_table(const uint8_t *sector)
{
    return sector[510] == 0x55 && sector[511] == 0xaa;
}

/* Has it a length, and an end that can be one? */
static bool is_partition(const uint8_t *entry)
{
    bool is_used =
        entry[LENGTH_AT] || entry[LENGTH_AT + 1] || entry[LENGTH_AT + 2] || entry[LENGTH_AT + 3];

    return is_used && entry[LAST_HEAD_AT] > 0 && (entry[LAST_SECTOR_AT] & 63) > 0;
}

/* Partitions end where a cylinder does, so that the last head and sector are the highest. */
struct image_chs image_chs_of(const uint8_t *sector)
{
    struct image_chs chs = {0};

    for (unsigned i = 0; is_table(sector) && i < PARTITIONS; i++) {
        const uint8_t *entry = sector + PARTITION_AT + i * PARTITION_BYTES;

        if (is_partition(entry)) {
            if (entry[LAST_HEAD_AT] < MOST_HEADS) {
                chs.heads = (uint8_t)(entry[LAST_HEAD_AT] + 1);
                chs.sectors = entry[LAST_SECTOR_AT] & 63;
            }
            break;
        }
    }
    return chs;
}

struct image_chs image_chs_read(int fd, uint64_t offset, uint32_t align)
{
    size_t piece = align < 4096 ? 4096 : align;
    struct image_chs chs = {0};
    void *buffer;

    if (posix_memalign(&buffer, piece, piece) != 0) {
        return chs;
    }
    if (pread(fd, buffer, piece, (off_t)offset) >= (ssize_t)IMAGE_CHS_BYTES) {
        chs = image_chs_of(buffer);
    }
    free(buffer);
    return chs;
}
