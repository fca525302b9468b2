/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Walks over scattered memory.  The pieces belong to the caller, who no longer needs what has
 * been stepped over.  Thread: any.
 */

#include <sys/uio.h>

#include "core/base/base.h"

/*
 * Move `len` bytes from the front of the pieces to `to` (NULL: nowhere), and step over them.  The
 * pieces are long enough.
 */
void iov_take(struct iovec **iov, unsigned *count, uint8_t *to, size_t len);

/*
 * A place in pieces that are not ours to change: so many pieces on, and so many bytes into that
 * one, fewer than it has.
 */
struct iov_place {
    uint32_t at;
    uint32_t skip;
};

/* Move `len` bytes out of the pieces, into them, or nowhere, from a place on, which moves. */
void iov_gather(const struct iovec *iov, struct iov_place *place, uint8_t *to, size_t len);
void iov_scatter(const struct iovec *iov, struct iov_place *place, const uint8_t *from, size_t len);
void iov_pass(const struct iovec *iov, struct iov_place *place, size_t len);

/* What is left of the piece that the place is in. */
static inline struct iovec iov_rest(const struct iovec *iov, const struct iov_place *place)
{
    return (struct iovec){
        .iov_base = (uint8_t *)iov[place->at].iov_base + place->skip,
        .iov_len = iov[place->at].iov_len - place->skip,
    };
}

/* Are all addresses multiples of `mem_align`, all lengths of `len_align`?  Powers of two. */
bool iov_is_aligned(const struct iovec *iov, unsigned count, size_t mem_align, size_t len_align);
