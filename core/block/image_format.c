/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * One that is known by bytes at one place of the head.
 * Sources: QEMU 7.2, bdrv_probe of each driver in block/ (qcow.c, qcow2.c, qed.c, vmdk.c, vdi.c,
 * vhdx.c, vpc.c, parallels.c, bochs.c, cloop.c); LUKS1 On-Disk Format Specification 1.2.3, "PHDR",
 * and LUKS2 On-Disk Format Specification 1.1.1, "Binary header"; RFC 1952, 2.3 "Member format";
 * RFC 8878, 3.1.1 "Zstandard Frames"; The .xz File Format 1.2.0, 2.1.1.1 "Header Magic Bytes".
 */
struct mark {
    struct image_format format;
    const char *bytes;
    size_t len;
    size_t at;
};

#define MARK(name_, kind_, at_, bytes_)                                                     \
    {                                                                                       \
        .format = {name_, kind_}, .bytes = (bytes_), .len = sizeof(bytes_) - 1, .at = (at_) \
    }

static const struct mark marks[] = {
    MARK("qcow", IMAGE_OTHER_FORMAT, 0, "QFI\xfb\0\0\0\1"),
    MARK("qcow2", IMAGE_OTHER_FORMAT, 0, "QFI\xfb"),
    MARK("QED", IMAGE_OTHER_FORMAT, 0, "QED\0"),
    MARK("VMDK", IMAGE_OTHER_FORMAT, 0, "KDMV"),
    MARK("VMDK", IMAGE_OTHER_FORMAT, 0, "COWD"),
    MARK("VMDK", IMAGE_OTHER_FORMAT, 0, "# Disk DescriptorFile"),
    MARK("VDI", IMAGE_OTHER_FORMAT, 0x40, "\x7f\x10\xda\xbe"),
    MARK("VHDX", IMAGE_OTHER_FORMAT, 0, "vhdxfile"),
    MARK("VHD", IMAGE_OTHER_FORMAT, 0, "conectix"),
    MARK("Parallels", IMAGE_OTHER_FORMAT, 0, "WithoutFreeSpace"),
    MARK("Parallels", IMAGE_OTHER_FORMAT, 0, "WithouFreSpacExt"),
    MARK("Bochs", IMAGE_OTHER_FORMAT, 0, "Bochs Virtual HD Image"),
    MARK("cloop", IMAGE_OTHER_FORMAT, 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file="),
    MARK("xz", IMAGE_PACKED, 0,
         "\xfd"
         "7zXZ\0"),
    MARK("gzip", IMAGE_PACKED, 0, "\x1f\x8b\x08"),
    MARK("zstd", IMAGE_PACKED, 0, "\x28\xb5\x2f\xfd"),
    MARK("LUKS", IMAGE_CIPHER, 0, "LUKS\xba\xbe\0\1"),
    MARK("LUKS", IMAGE_CIPHER, 0, "LUKS\xba\xbe\0\2"),
};

static uint64_t big_endian(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* The sum of all bytes but its own four, inverted. */
static bool is_checksum_good(const uint8_t *footer)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < IMAGE_TAIL_BYTES; i++) {
        sum += i / 4 == 16 ? 0 : footer[i];
    }
    return ~sum == (uint32_t)big_endian(footer + 64, 4);
}

/*
 * A VHD of fixed size has a footer and nothing else of its own, so the footer must be right in all
 * that can be checked: the guest of a raw disk may have such a file at its end.
 * Source: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0, "Hard Disk Footer Format".
 */
static bool is_fixed_vhd(const uint8_t *footer, uint64_t size)
{
    return memcmp(footer, "conectix", 8) == 0 && big_endian(footer + 60, 4) == 2 &&
           big_endian(footer + 48, 8) == size - IMAGE_TAIL_BYTES && is_checksum_good(footer);
}

const struct image_format *image_format_of(const uint8_t *head, size_t head_len,
                                           const uint8_t *tail, uint64_t size)
{
    static const struct image_format fixed_vhd = {"VHD (fixed)", IMAGE_OTHER_FORMAT};

    for (unsigned i = 0; i < ARRAY_SIZE(marks); i++) {
        const struct mark *mark = &marks[i];

        if (range_ok(mark->at, mark->len, head_len) &&
            memcmp(head + mark->at, mark->bytes, mark->len) == 0) {
            return &mark->format;
        }
    }
    return tail && is_fixed_vhd(tail, size) ? &fixed_vhd : NULL;
}

#define SMALLEST_PIECE 4096u

/* `len` bytes at `offset`, or what there is before the end. */
static ssize_t read_at(int fd, uint8_t *to, size_t len, uint64_t offset)
{
    ssize_t got = pread(fd, to, len, (off_t)offset);

    return got < 0 ? -errno : got;
}

/* One piece holds the head; two hold the tail, wherever the end lies in the second. */
int image_format_read(int fd, uint64_t offset, uint64_t size, uint32_t align,
                      const struct image_format **format)
{
    size_t piece = align < SMALLEST_PIECE ? SMALLEST_PIECE : align;
    uint64_t tail_at = size < IMAGE_TAIL_BYTES ? 0 : size - IMAGE_TAIL_BYTES;
    uint64_t piece_at = tail_at - tail_at % piece;
    const uint8_t *tail = NULL;
    uint8_t *buffer;
    ssize_t head, rest;

    if (posix_memalign((void **)&buffer, piece, 3 * piece) != 0) {
        return -ENOMEM;
    }
    head = read_at(fd, buffer, piece, offset);
    rest = head < 0 ? head : read_at(fd, buffer + piece, 2 * piece, offset + piece_at);
    if (rest >= 0) {
        if (size >= IMAGE_TAIL_BYTES && piece_at + (uint64_t)rest >= size) {
            tail = buffer + piece + (tail_at - piece_at);
        }
        *format =
            image_format_of(buffer, min_of((size_t)head, (size_t)IMAGE_HEAD_BYTES), tail, size);
    }
    free(buffer);
    return rest < 0 ? (int)rest : 0;
}
