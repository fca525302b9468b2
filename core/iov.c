/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/iov.h"

/* Step over `len` bytes of the first piece. */
static void step(struct iovec **iov, unsigned *count, size_t len)
{
    (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
    (*iov)->iov_len -= len;
    if ((*iov)->iov_len == 0) {
        (*iov)++;
        (*count)--;
    }
}

void iov_take(struct iovec **iov, unsigned *count, uint8_t *to, size_t len)
{
    while (len > 0) {
        size_t piece = min_of(len, (*iov)->iov_len);

        if (to) {
            copy_once(to, (*iov)->iov_base, piece);
            to += piece;
        }
        len -= piece;
        step(iov, count, piece);
    }
}

void iov_fill(struct iovec **iov, unsigned *count, const uint8_t *from, size_t len)
{
    while (len > 0) {
        size_t piece = min_of(len, (*iov)->iov_len);

        memcpy((*iov)->iov_base, from, piece);
        from += piece;
        len -= piece;
        step(iov, count, piece);
    }
}

bool iov_is_aligned(const struct iovec *iov, unsigned count, size_t mem_align, size_t len_align)
{
    uintptr_t bits = 0;
    size_t lengths = 0;

    for (unsigned i = 0; i < count; i++) {
        bits |= (uintptr_t)iov[i].iov_base;
        lengths |= iov[i].iov_len;
    }
    return is_aligned(bits, mem_align) && is_aligned(lengths, len_align);
}
