/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/virtio/dirty_log.h"

/* The bits of one byte, from that of page `first` on, up to that of page `last` if it has that. */
static uint8_t bits_of(uint64_t first, uint64_t last)
{
    unsigned from = first % 8;
    unsigned to = last / 8 == first / 8 ? last % 8 : 7;

    return (uint8_t)(0xffu << from & 0xffu >> (7 - to));
}

/*
 * Bytes, as the log need not begin where a larger word does; whoever takes bits away may do so by
 * words.  A bit that is there already is set all the same: it may be taken away before what we have
 * stored is to be seen.
 * Release: what was stored is visible before the bit; pairs with the front-end's exchange of the
 * bits, after which it copies the pages.
 */
void dirty_log_mark(const struct dirty_log *log, uint64_t addr, uint64_t len)
{
    uint64_t first = addr / DIRTY_LOG_PAGE;
    uint64_t last;

    if (len == 0 || !dirty_log_covers(log, addr, len)) {
        return;
    }
    last = (addr + len - 1) / DIRTY_LOG_PAGE;
    while (first <= last) {
        __atomic_fetch_or(&log->bits[first / 8], bits_of(first, last), __ATOMIC_RELEASE);
        first = (first / 8 + 1) * 8;
    }
}
