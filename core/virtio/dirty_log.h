/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The log of a live migration: a bit for each page of the guest's memory, set when the device has
 * written to that page.  The bits lie in memory that the front-end shares, and takes them away
 * while we set others.
 * A view of a mapping that its owner (struct mem) has; written by the disk's thread while no other
 * looks.  Marks are made by any thread of the disk.
 * Source: vhost-user, "Migration".
 */

#include "core/base/base.h"

/* Bytes of guest memory that a bit stands for, whatever the pages of the guest: VHOST_LOG_PAGE. */
#define DIRTY_LOG_PAGE 4096ull

/* For 128 TiB of guest addresses, as many as there are of ours. */
#define DIRTY_LOG_MAX_BYTES (4ull << 30)

struct dirty_log {
    uint8_t *bits; /* lent, NULL: there is none */
    uint64_t bytes;
};

/* Has the log a bit for each page of [addr, addr + len)?  Guest addresses; no bytes always fit. */
static inline bool dirty_log_covers(const struct dirty_log *log, uint64_t addr, uint64_t len)
{
    return len == 0 || range_ok(addr, len, log->bytes * 8 * DIRTY_LOG_PAGE);
}

/*
 * What was stored to [addr, addr + len) is to be copied: call it after the store.  Nothing happens
 * where the log does not reach.
 */
void dirty_log_mark(const struct dirty_log *log, uint64_t addr, uint64_t len);
