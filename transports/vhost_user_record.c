/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vhost_user_record.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>

#include "core/base/features.h"
#include "core/device/device.h"

static const char magic[8] = "vblkdisk"; /* NOLINT: without a final NUL */

#define FIELD(member) \
    offsetof(struct virtio_blk_config, member), sizeof(((struct virtio_blk_config *)NULL)->member)

/* What goes by its value there may be compared with what is here. */
enum rule {
    ANY,      /* what was asked for by the other value is served as well */
    NOT_LESS, /* here */
    NOT_MORE,
};

static const struct field {
    const char *name;
    size_t offset;
    size_t bytes;
    enum rule rule;
} fields[] = {
    {"capacity", FIELD(capacity), NOT_LESS},
    {"blk_size", FIELD(blk_size), NOT_MORE},
    {"num_queues", FIELD(num_queues), NOT_LESS},
    {"size_max", FIELD(size_max), ANY},
    {"seg_max", FIELD(seg_max), ANY},
    {"cylinders", FIELD(geometry.cylinders), ANY},
    {"heads", FIELD(geometry.heads), ANY},
    {"sectors", FIELD(geometry.sectors), ANY},
    {"physical_block_exp", FIELD(physical_block_exp), ANY},
    {"alignment_offset", FIELD(alignment_offset), ANY},
    {"min_io_size", FIELD(min_io_size), ANY},
    {"opt_io_size", FIELD(opt_io_size), ANY},
    {"max_discard_sectors", FIELD(max_discard_sectors), ANY},
    {"max_discard_seg", FIELD(max_discard_seg), ANY},
    {"discard_sector_alignment", FIELD(discard_sector_alignment), ANY},
    {"max_write_zeroes_sectors", FIELD(max_write_zeroes_sectors), ANY},
    {"max_write_zeroes_seg", FIELD(max_write_zeroes_seg), ANY},
    {"write_zeroes_may_unmap", FIELD(write_zeroes_may_unmap), ANY},
};

static enum vu_record_cache cache_of(struct device *dev)
{
    return device_is_in_doubt(dev)     ? VU_RECORD_UNKNOWN
           : device_has_writeback(dev) ? VU_RECORD_WRITEBACK
                                       : VU_RECORD_WRITETHROUGH;
}

void vu_record_make(struct vu_record *record, struct device *dev)
{
    *record = (struct vu_record){
        .version = VU_RECORD_VERSION,
        .bytes = sizeof(*record),
        .features = device_features(dev),
        .accepted = device_accepted(dev),
        .cache = cache_of(dev),
    };
    memcpy(record->magic, magic, sizeof(magic));
    device_config_read(dev, 0, record->config, sizeof(record->config));
}

/* Is it one of ours, and whole? */
static int check_form(const struct vu_record *record, size_t bytes, struct err *err)
{
    size_t head = offsetof(struct vu_record, features);

    if (bytes < head || memcmp(record->magic, magic, sizeof(magic)) != 0) {
        return err_say(err, -EINVAL, "the %zu bytes that came are no state of a disk of vblkd",
                       bytes);
    }
    if (record->version != VU_RECORD_VERSION) {
        return err_say(err, -EINVAL, "the state has version %" PRIu32 ", this vblkd knows %u",
                       record->version, VU_RECORD_VERSION);
    }
    if (bytes != sizeof(*record) || record->bytes != sizeof(*record)) {
        return err_say(err, -EINVAL, "the state has %zu bytes of %" PRIu32 ", and should have %zu",
                       bytes, record->bytes, sizeof(*record));
    }
    if (record->cache > VU_RECORD_UNKNOWN) {
        return err_say(err, -EINVAL, "the state is damaged: cache %" PRIu32, record->cache);
    }
    return 0;
}

static int check_features(const struct vu_record *record, const struct device *dev, struct err *err)
{
    uint64_t missing = record->accepted & ~device_acceptable(dev);
    char text[FEATURES_TEXT_BYTES];
    uint64_t readonly = device_features(dev) & ~record->features & BIT(VIRTIO_BLK_F_RO);

    if (missing) {
        return err_say(err, -ESTALE,
                       "the guest has accepted the features %s, which this disk does "
                       "not have",
                       features_say(missing, text));
    }
    return readonly ? err_say(err, -ESTALE, "the guest may write, and this disk is read-only") : 0;
}

static uint64_t value_of(const uint8_t *config, const struct field *field)
{
    uint64_t value = 0;

    memcpy(&value, config + field->offset, field->bytes); /* little-endian, as this builds */
    return value;
}

static bool is_broken(const struct field *field, uint64_t there, uint64_t here)
{
    return (field->rule == NOT_LESS && here < there) || (field->rule == NOT_MORE && here > there);
}

/* "seg_max 126 instead of 7", after what is there already. */
static void add_note(char *note, size_t size, const char *name, uint64_t there, uint64_t here)
{
    size_t used = strlen(note);

    (void)snprintf(note + used, size - used, "%s%s %" PRIu64 " instead of %" PRIu64,
                   used > 0 ? ", " : "", name, here, there);
}

static int check_config(const uint8_t *config, const struct device *dev, char *note, size_t size,
                        struct err *err)
{
    uint8_t own[VU_RECORD_CONFIG_BYTES];

    device_config_read(dev, 0, own, sizeof(own));
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        uint64_t there = value_of(config, &fields[i]);
        uint64_t here = value_of(own, &fields[i]);

        if (is_broken(&fields[i], there, here)) {
            return err_say(err, -ESTALE,
                           "the guest goes by %s %" PRIu64 ", and this disk has %" PRIu64,
                           fields[i].name, there, here);
        }
        if (there != here) {
            add_note(note, size, fields[i].name, there, here);
        }
    }
    return 0;
}

int vu_record_check(const void *bytes, size_t count, const struct device *dev, char *note,
                    size_t note_size, struct err *err)
{
    const struct vu_record *record = bytes;
    int ret = check_form(record, count, err);

    note[0] = '\0';
    if (ret == 0) {
        ret = check_features(record, dev, err);
    }
    if (ret == 0) {
        ret = check_config(record->config, dev, note, note_size, err);
    }
    if (ret == 0 && record->features != device_features(dev)) {
        add_note(note, note_size, "features", record->features, device_features(dev));
    }
    return ret;
}
