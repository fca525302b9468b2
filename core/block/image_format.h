/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What an image's bytes say that it is, where that is not a raw disk.  Asked once, when the disk
 * is added: later the bytes are the guest's, who could write whatever it likes to be taken for.
 * Thread: any.
 */

#include "core/base/base.h"

enum image_kind {
    IMAGE_OTHER_FORMAT, /* of another program's disks: qemu-img converts it */
    IMAGE_PACKED,       /* compressed as a whole */
    IMAGE_CIPHER,       /* a raw disk whose guest, or whose host, has the key */
};

struct image_format {
    const char *name;
    enum image_kind kind;
};

/* What there is to look at: so many bytes from the beginning, and those before the end. */
#define IMAGE_HEAD_BYTES 512u
#define IMAGE_TAIL_BYTES 512u

/*
 * `head` has `head_len` bytes; `tail` is NULL when the image is shorter than a tail.
 * NULL: nothing that is known here, so it is raw.
 */
const struct image_format *image_format_of(const uint8_t *head, size_t head_len,
                                           const uint8_t *tail, uint64_t size);

/*
 * Read what there is to look at from an image of `size` bytes that begins at `offset` of a file, in
 * pieces that direct I/O allows that asks for an alignment of `align`.  Returns 0 with `*format` as
 * above, or -errno.  May block.
 */
int image_format_read(int fd, uint64_t offset, uint64_t size, uint32_t align,
                      const struct image_format **format);
