/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Walks over scattered memory.  The pieces belong to the caller, who no longer needs what has
 * been stepped over.  Thread: any.
 */

#include <sys/uio.h>

#include "core/base.h"

/*
 * Move `len` bytes from the front of the pieces to `to` (NULL: nowhere), or from `from` to
 * their front, and step over them.  The pieces are long enough.
 */
void iov_take(struct iovec **iov, unsigned *count, uint8_t *to, size_t len);
void iov_fill(struct iovec **iov, unsigned *count, const uint8_t *from, size_t len);

/* Are all addresses multiples of `mem_align`, all lengths of `len_align`?  Powers of two. */
bool iov_is_aligned(const struct iovec *iov, unsigned count, size_t mem_align, size_t len_align);
