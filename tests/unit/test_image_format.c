/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "core/block/image_format.h"

#define MIB (1u << 20)

/* What an image of 1 MiB is that has `bytes` at `at` and zeroes else; "raw" for none. */
static const char *format_of(const char *bytes, size_t len, size_t at)
{
    uint8_t head[IMAGE_HEAD_BYTES] = {0};
    uint8_t tail[IMAGE_TAIL_BYTES] = {0};
    const struct image_format *format;

    memcpy(head + at, bytes, len);
    format = image_format_of(head, sizeof(head), tail, MIB);
    return format ? format->name : "raw";
}

#define of(bytes, at) format_of(bytes, sizeof(bytes) - 1, at)

static void formats_of_other_programs_are_known_by_their_first_bytes(void **state)
{
    assert_string_equal(of("QFI\xfb\0\0\0\1", 0), "qcow");
    assert_string_equal(of("QFI\xfb\0\0\0\2", 0), "qcow2");
    assert_string_equal(of("QFI\xfb\0\0\0\3", 0), "qcow2");
    assert_string_equal(of("QED\0", 0), "QED");
    assert_string_equal(of("KDMV", 0), "VMDK");
    assert_string_equal(of("COWD", 0), "VMDK");
    assert_string_equal(of("# Disk DescriptorFile\nversion=1\n", 0), "VMDK");
    assert_string_equal(of("\x7f\x10\xda\xbe", 0x40), "VDI");
    assert_string_equal(of("vhdxfile", 0), "VHDX");
    assert_string_equal(of("conectix", 0), "VHD");
    assert_string_equal(of("WithoutFreeSpace", 0), "Parallels");
    assert_string_equal(of("WithouFreSpacExt", 0), "Parallels");
    assert_string_equal(of("Bochs Virtual HD Image", 0), "Bochs");
    assert_string_equal(of("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0", 0), "cloop");
    assert_string_equal(of("\xfd"
                           "7zXZ\0",
                           0),
                        "xz");
    assert_string_equal(of("\x1f\x8b\x08", 0), "gzip");
    assert_string_equal(of("\x28\xb5\x2f\xfd", 0), "zstd");
    assert_string_equal(of("LUKS\xba\xbe\0\1", 0), "LUKS");
    assert_string_equal(of("LUKS\xba\xbe\0\2", 0), "LUKS");
}

static void what_only_resembles_them_is_raw(void **state)
{
    assert_string_equal(of("", 0), "raw");
    assert_string_equal(of("QFI", 0), "raw");
    assert_string_equal(of("QFI\xfb", 1), "raw");
    assert_string_equal(of("QED", 508), "raw");
    assert_string_equal(of("\x7f\x10\xda\xbe", 0), "raw");
    assert_string_equal(of("#!/bin/sh\n", 0), "raw");
    assert_string_equal(of("LUKS\xba\xbe\0\3", 0), "raw");
    assert_string_equal(of("\xeb\x63\x90", 0), "raw"); /* a boot sector */
    assert_string_equal(of("\x55\xaa", 510), "raw");
}

/* As much of a mark as there is: nothing past the end is looked at (under a sanitizer). */
static void short_images_are_raw(void **state)
{
    static const uint8_t head[] = "QFI\xfb";

    for (size_t len = 0; len < 4; len++) {
        assert_null(image_format_of(head, len, NULL, len));
    }
    assert_string_equal(image_format_of(head, 4, NULL, 4)->name, "qcow2");
}

static void put_be(uint8_t *at, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0) {
        at[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

/* Of a fixed VHD of `size` bytes, as its specification says. */
static void make_footer(uint8_t *footer, uint64_t size)
{
    uint32_t sum = 0;

    memset(footer, 0, IMAGE_TAIL_BYTES);
    memcpy(footer, "conectix", 8);
    put_be(footer + 48, size - IMAGE_TAIL_BYTES, 8);
    put_be(footer + 60, 2, 4);
    for (unsigned i = 0; i < IMAGE_TAIL_BYTES; i++) {
        sum += footer[i];
    }
    put_be(footer + 64, ~sum, 4);
}

static void fixed_vhd_is_known_by_its_footer(void **state)
{
    uint8_t head[IMAGE_HEAD_BYTES] = {0};
    uint8_t tail[IMAGE_TAIL_BYTES];

    make_footer(tail, MIB);
    assert_string_equal(image_format_of(head, sizeof(head), tail, MIB)->name, "VHD (fixed)");
    assert_null(image_format_of(head, sizeof(head), NULL, MIB));
    assert_null(image_format_of(head, sizeof(head), tail, MIB + 512)); /* a file in a disk */
    tail[500] ^= 1;
    assert_null(image_format_of(head, sizeof(head), tail, MIB));
    make_footer(tail, MIB);
    put_be(tail + 60, 3, 4);
    tail[67]--;
    assert_null(image_format_of(head, sizeof(head), tail, MIB));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_of_other_programs_are_known_by_their_first_bytes),
        cmocka_unit_test(what_only_resembles_them_is_raw),
        cmocka_unit_test(short_images_are_raw),
        cmocka_unit_test(fixed_vhd_is_known_by_its_footer),
    };

    return unit_run(tests);
}
