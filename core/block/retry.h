/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Operations that the kernel could not do for the moment, for want of memory or of room in its own
 * queues.  That says nothing of the image, so the guest is not told: they are tried again, and
 * become errors only when the kernel refuses them for RETRY_NS.
 *
 * There are two kinds.  A submit that was refused: what was queued stays where it is, but no result
 * may come for long that would make anybody submit again.  And a result
 * that says so: its operation waits here for a moment, as the kernel would give the same answer at
 * once.  Owned by its path; that one's thread only.
 */

#include "core/block/file_io.h"
#include "core/base/log.h"

/* Longer than a host that swaps needs to come to itself, shorter than a guest's patience. */
#define RETRY_NS (30 * NS_PER_S)

/* Between two attempts of one operation; the disk's thread looks as often (must_look). */
#define RETRY_PAUSE_NS NS_PER_MS

struct retry {
    const char *path;  /* lent, for messages */
    uint64_t since_ns; /* when submits began to be refused, or last were with something under way */
    bool is_told;      /* of those */
    uint64_t later_ns; /* when `later` may go again */
    struct io_list later; /* results that said so */
    struct log_limit log;
};

void retry_init(struct retry *retry, const char *path);

/* Does this -errno speak of the moment, and not of the operation? */
bool retry_is_momentary(int64_t code);

/*
 * A submit was refused for `code`, which is momentary.  Returns whether to submit again later:
 * false after RETRY_NS of it with nothing under way (`is_busy`), which would make room when it
 * ends.  That may take long, and there may be room before.
 */
bool retry_submit(struct retry *retry, int code, bool is_busy);

/* A submit was not refused, or nothing is left to be submitted. */
void retry_end(struct retry *retry);

/* Take an operation whose result is momentary.  Returns false when it was tried often enough. */
bool retry_keep(struct retry *retry, struct io *io, int64_t code);

/* Those whose time has come go behind `pending`. */
void retry_release(struct retry *retry, struct io_list *pending);

/* Is there anything to be submitted again that nobody will signal? */
static inline bool retry_is_waiting(const struct retry *retry)
{
    return retry->since_ns || retry->later.first;
}
