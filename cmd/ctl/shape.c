/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/shape.h"

#include <inttypes.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/print.h"
#include "core/base/features.h"
#include "cmd/common/size.h"

/* ", WHAT NUMBER", or nothing where there is nothing to say. */
static void say_number(char *text, size_t size, const char *what, uint64_t number, bool is_told)
{
    text[0] = '\0';
    if (is_told) {
        (void)snprintf(text, size, ", %s %" PRIu64, what, number);
    }
}

/* While the image is closed nobody knows what it takes. */
static void say_emulation(const json_t *disk, char *text, size_t size)
{
    uint64_t block = print_number_of(json_object_get(disk, "image"), "block_size");

    text[0] = '\0';
    if (!json_is_true(json_object_get(disk, "emulate_512"))) {
        return;
    }
    if (block > 512) {
        (void)snprintf(text, size, " (emulated on blocks of %" PRIu64 ")", block);
    } else {
        (void)snprintf(text, size, " (emulated%s)",
                       block > 0 ? ", which this image needs not" : " where the image needs it");
    }
}

void shape_show_blocks(const json_t *disk)
{
    uint64_t physical = print_number_of(disk, "physical_block_size");
    uint64_t offset = print_number_of(disk, "alignment_offset");
    uint64_t least = print_number_of(disk, "min_io_size");
    uint64_t best = print_number_of(disk, "opt_io_size");
    char how[64], from[48], small[48], large[48];

    say_number(from, sizeof(from), "from offset", offset, offset > 0);
    say_number(small, sizeof(small), "smallest I/O size", least, least > physical);
    say_number(large, sizeof(large), "best I/O size", best, best > 0);
    say_emulation(disk, how, sizeof(how));
    print_field("blocks", "logical %" PRIu64 "%s, physical %" PRIu64 "%s%s%s",
                print_number_of(disk, "logical_block_size"), how, physical, from, small, large);
}

void shape_show_segments(const json_t *disk)
{
    uint64_t most = print_number_of(disk, "seg_max");
    uint64_t bytes = print_number_of(disk, "size_max");
    char each[48];

    say_number(each, sizeof(each), "each up to", bytes, bytes > 0);
    if (most > 0) {
        print_field("segments", "up to %" PRIu64 " in a request%s%s", most, each,
                    bytes > 0 ? " bytes" : "");
    }
}

void shape_show_chs(const json_t *disk)
{
    uint64_t heads = print_number_of(disk, "heads");

    if (heads > 0) {
        print_field("geometry",
                    "%" PRIu64 " cylinders, %" PRIu64 " heads, %" PRIu64 " sectors a track%s",
                    print_number_of(disk, "cylinders"), heads, print_number_of(disk, "sectors"),
                    print_text_of(disk, "geometry")[0] ? " (asked for)" : "");
    }
}

void shape_show_ranges(const json_t *disk)
{
    uint64_t block = print_number_of(disk, "discard_block_size");
    const char *zeroes = print_text_of(disk, "zeroes");
    char text[48] = "off";

    if (!json_object_get(disk, "discard_block_size")) {
        return;
    }
    if (block > 0) {
        (void)snprintf(text, sizeof(text), "blocks of %" PRIu64, block);
    }
    print_field("discards", "%s; zeroes: %s", text,
                strcmp(zeroes, "unmap") == 0  ? "given back if the guest allows it"
                : strcmp(zeroes, "keep") == 0 ? "stay allocated"
                                              : "off");
}

/* "256 of up to 1G"; `name` is of the size, and with "_segments" of the number.  "": none. */
static const char *say_ranges(const json_t *disk, const char *name, char *text, size_t size)
{
    uint64_t bytes = print_number_of(disk, name);
    char segments[48];
    char each[SIZE_TEXT_BYTES];

    text[0] = '\0';
    (void)snprintf(segments, sizeof(segments), "%s_segments", name);
    if (bytes > 0) {
        (void)snprintf(text, size, "%" PRIu64 " of up to %s", print_number_of(disk, segments),
                       size_format(bytes, each));
    }
    return text;
}

void shape_show_largest_ranges(const json_t *disk)
{
    char discards[64], zeroes[64];

    (void)say_ranges(disk, "max_discard", discards, sizeof(discards));
    (void)say_ranges(disk, "max_write_zeroes", zeroes, sizeof(zeroes));
    if (discards[0] || zeroes[0]) {
        print_field("ranges at once", "%s%s%s%s%s", discards[0] ? "discards " : "", discards,
                    discards[0] && zeroes[0] ? "; " : "", zeroes[0] ? "zeroes " : "", zeroes);
    }
}

/* May a driver switch, the one that is there or else the next one? */
static bool may_switch(const json_t *disk)
{
    uint64_t features = print_number_of(disk, "features");

    return features ? features >> VIRTIO_BLK_F_CONFIG_WCE & 1
                    : strcmp(print_text_of(disk, "config_wce"), "on") == 0;
}

void shape_show_write_cache(const json_t *disk)
{
    const char *cache = print_text_of(disk, "write_cache");
    const char *by = print_text_of(disk, "write_cache_by");

    if (!cache[0]) {
        return;
    }
    print_field("write cache", "%s%s", cache,
                strcmp(by, "guest") == 0      ? ", switched by the guest"
                : strcmp(by, "cache") == 0    ? ", for --cache"
                : strcmp(by, "unknown") == 0  ? " until the guest flushes, as it may have switched"
                : strcmp(by, "no_flush") == 0 ? ", the guest knows no flushes"
                : may_switch(disk)            ? ", the guest may switch it"
                                              : "");
}

void shape_show_features(const char *label, uint64_t features)
{
    char names[256] = "";
    size_t used = 0;

    for (unsigned bit = 0; bit < 64 && used < sizeof(names); bit++) {
        if ((features >> bit & 1) && feature_name(bit)) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, " %s", feature_name(bit));
        }
    }
    print_field(label, "0x%" PRIx64 "%s", features, names);
}

void shape_show_shown(const json_t *disk)
{
    const json_t *shown = json_object_get(disk, "shown");

    if (json_is_object(shown)) {
        shape_show_features("offered", print_number_of(shown, "features"));
    }
}
