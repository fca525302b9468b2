/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/iov.h"

/* Step over `len` bytes of the first piece. */
static void step_over(struct iovec **iov, unsigned *count, size_t len)
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
        step_over(iov, count, piece);
    }
}

/* The next piece that is in one piece, `max` bytes of it at most. */
static struct iovec step_on(const struct iovec *iov, struct iov_place *place, size_t max)
{
    struct iovec rest = iov_rest(iov, place);

    if (rest.iov_len > max) {
        rest.iov_len = max;
        place->skip += (uint32_t)max;
    } else {
        place->at++;
        place->skip = 0;
    }
    return rest;
}

void iov_gather(const struct iovec *iov, struct iov_place *place, uint8_t *to, size_t len)
{
    while (len > 0) {
        struct iovec piece = step_on(iov, place, len);

        copy_once(to, piece.iov_base, piece.iov_len);
        to += piece.iov_len;
        len -= piece.iov_len;
    }
}

void iov_scatter(const struct iovec *iov, struct iov_place *place, const uint8_t *from, size_t len)
{
    while (len > 0) {
        struct iovec piece = step_on(iov, place, len);

        memcpy(piece.iov_base, from, piece.iov_len);
        from += piece.iov_len;
        len -= piece.iov_len;
    }
}

void iov_pass(const struct iovec *iov, struct iov_place *place, size_t len)
{
    while (len > 0) {
        len -= step_on(iov, place, len).iov_len;
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
