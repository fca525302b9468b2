/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Memory that is shared with the back-end: a memfd whose size is sealed, aligned and mapped so
 * that huge pages fit.
 * Owned by its front; one thread.
 */

#include "core/base/base.h"
#include "core/base/err.h"

/* Huge pages, where the system gives them; and what SPDK wants regions aligned to. */
#define SHARED_ALIGN (2ull << 20)

struct shared {
    uint8_t *memory; /* owned: a mapping of fd; NULL: none */
    uint64_t bytes;  /* a multiple of SHARED_ALIGN */
    int fd;          /* -1: none */
};

/*
 * All of it is touched, and filled with what does not compress.
 *
 * is_huge: it is in huge pages, or the call fails
 */
int shared_open(struct shared *shared, uint64_t bytes, bool is_huge, struct err *err);

/* Also when shared_open has failed, or with fd -1 and no memory. */
void shared_close(struct shared *shared);
