/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_record.h"

#include <limits.h>
#include <string.h>

#include "core/base/sysfs.h"

static bool uses_page_cache(const struct disk_config *config)
{
    enum cache_mode mode;

    return cache_mode_parse(config->image.cache, &mode) && !cache_is_direct(mode);
}

/*
 * What a device lies on is locked as well (image_claim.h): at least the disk of a partition, and
 * the file of a loop device.  Of what it was last time, as nobody here waits for the path.
 */
static uint64_t claims_of(const struct disk_opened *opened)
{
    dev_t dev = (dev_t)opened->device;
    char line[PATH_MAX];

    if (opened->device == 0 || opened->inode != 0) {
        return 0; /* a file, or not known */
    }
    return (uint64_t)sysfs_fact(dev, "partition", line, sizeof(line)) +
           (uint64_t)sysfs_fact(dev, "loop/backing_file", line, sizeof(line));
}

/*
 * At least, and without guests: the image's, and loop, timer, socket and lock.  Further threads
 * have 5, when the image is opened; the page cache has a witness (image_sync.h).
 */
uint64_t disk_record_files(const struct disk_record *record)
{
    uint64_t files = 6 + image_type_of(&record->config.image)->files;

    files += uses_page_cache(&record->config);
    if (record->is_stopped) {
        return files;
    }
    return files + claims_of(&record->opened) + 5 * ((uint64_t)record->config.settings.threads - 1);
}

struct blk_chs disk_record_chs(const struct disk_record *record)
{
    return (struct blk_chs){
        .cylinders = (uint16_t)record->cylinders,
        .heads = (uint8_t)record->heads,
        .sectors = (uint8_t)record->sectors,
    };
}

bool disk_record_keep_shown(struct disk_record *record, const struct blk_shown *shown)
{
    const struct disk_shown now = disk_shown_of(shown);
    bool is_other = memcmp(&now, &record->shown, sizeof(now)) != 0;

    record->shown = now;
    return is_other;
}
