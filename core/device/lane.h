/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One thread's share of a disk: its loop, its way to the image, and the turn in which the
 * rings that it serves are popped, published and signalled.  Part of a device; used by the
 * loop's thread, and by the disk's own while that one is parked (lanes.h).
 *
 * Each loop turn: callbacks mark rings that were kicked and reap what the image finished;
 * the check phase pops, submits once, publishes and signals.  Then, while there is reason to
 * think that more will come soon, it looks at rings and image itself instead of sleeping
 * (spin.h), with kicks switched off.
 */

#include <uv.h>

#include "core/block/context.h"
#include "core/block/image.h"
#include "core/block/image_opts.h"
#include "core/block/path.h"
#include "core/base/log.h"
#include "core/base/mailbox.h"
#include "core/base/ringer.h"
#include "core/base/slots.h"
#include "core/block/flight.h"
#include "core/virtio/blk.h"
#include "core/virtio/mem.h"
#include "core/device/batch.h"
#include "core/block/error_policy.h"
#include "core/device/spin.h"
#include "core/base/stats.h"
#include "core/base/watch.h"

/*
 * Chains of a lane at once that have more pieces than a slot has room for: as many as QEMU's rings
 * have descriptors.  More wait in their rings, with all that is behind them.
 */
#define LANE_ARRAYS 128u

/* As many more while they wait for a limit.  What none is left for keeps one of those above. */
#define LANE_LATE_ARRAYS 1024u

struct queue;
struct throttle;

/*
 * What a lane sees of its disk, beside the rings that it serves.  The disk's thread alone writes
 * it, with the lanes parked; but for `awaited`.
 */
struct lane_view {
    const char *name;    /* for log lines */
    unsigned pause_mask; /* enum pause_reason: while there is any, no request is popped */
    unsigned queues;
    struct queue *queue;       /* lent: so many */
    struct throttle *throttle; /* lent, NULL: nothing is limited */
    unsigned parked; /* calls of lanes_park that were not undone yet; no lane looks at it */
    enum detect_zeroes detect_zeroes;
    struct error_policy errors;
    bool is_fenced; /* see device_set_fenced */
    bool logs_data; /* what requests store is marked in the log, which there is */
    struct blk blk;
    struct mem mem;

    /* The kernel's number of the thread that the disk's own waits for, 0: none.  Thread: any. */
    _Atomic pid_t *awaited; /* lent */
};

struct lane {
    struct lane_view *view; /* the parent's */
    void *owner;            /* of `turned` and `closed` */
    unsigned index;         /* in the device; 0: on the disk's own thread */
    pid_t tid;              /* the kernel's number of its thread, for people and assertions */
    struct ringer ringer;   /* its thread */
    uv_loop_t *loop;        /* lent */
    struct mailbox mailbox;
    uv_check_t check;
    uv_idle_t idle;  /* active while a turn must follow at once */
    uv_timer_t look; /* active while there is something to look at unasked */
    uv_timer_t gate; /* active while a ring is gated, or has delayed requests */
    uv_timer_t tidy; /* active while the image keeps memory */
    struct context context;
    struct path *path;        /* owned, NULL: the image is closed */
    uint64_t ready;           /* rings to look at; bit = index */
    uint64_t used;            /* rings that have had requests: worth looking at in a spin */
    uint64_t quiet;           /* rings that were told not to kick */
    uint64_t unpublished;     /* rings that have finished requests to show */
    uint64_t untold;          /* rings that were shown some without a signal: look once more */
    uint64_t just_untold;     /* of these, since the last such look began */
    uint64_t aside;           /* rings whose next chain found no array: quiet, not ready */
    unsigned first_aside;     /* the one of them to begin with when there is one */
    bool aside_had_all;       /* those rings filled the last batch, and others have waited */
    uint64_t gated;           /* rings whose next request may not go yet: quiet, not ready */
    uint64_t gate_ns;         /* what its timer was set to */
    uint64_t delayed;         /* rings with requests that may not go yet */
    unsigned first_late;      /* the one of them to begin with */
    struct slots arrays;      /* for long chains of its rings: struct ring_array */
    struct slots late_arrays; /* for those of them that wait for a limit */
    uint64_t now_ns;          /* as of the last callback or turn */
    uint64_t turn_end_ns;     /* then the loop's other handles have their turn */
    unsigned first;           /* the ring to begin with, as those before it had their turn */
    bool was_held_up;         /* by the front-end, which gets no more signals */
    bool has_turn_work;       /* the check phase has something to do */
    bool image_goes_on;       /* it was still at work when the last submit came back */
    bool holds_errors;        /* as its image has it */
    bool has_failed;          /* what is held for a person; until the disk's thread has been told */
    bool has_found_loss;      /* of memory; until the disk's thread has been told */
    struct spin spin;
    struct batch batch;
    struct flight flight;
    struct stats stats; /* but for `inflight`, `held` and `throttled`: lanes_stats fills them in */
    struct log_limit guest_log;
    struct log_limit refusal_log; /* apart: refused requests hide no other line */
    uint64_t errnos_told[3];      /* of failed I/O: each is logged once until the disk is started */
    void (*turned)(struct lane *lane); /* at the end of each turn that had work */
    void (*closed)(struct lane *lane);
    struct watch *watch[CONTEXT_LEAVES]; /* owned: of the context's leaves, as many as it has */
    unsigned open_handles; /* check, idle, timers and watches; the memory may go at zero */
};
