/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One thread's share of a disk: its loop, its way to the image, and the turn in which the
 * rings that it serves are popped, published and signalled.  Part of a device; used by the
 * loop's thread, and by the disk's own while that one is parked (device_lanes.h).
 *
 * Each loop turn: callbacks mark rings that were kicked and reap what the image finished;
 * the check phase pops, submits once, publishes and signals.  Then, while there is reason to
 * think that more will come soon, it looks at rings and image itself instead of sleeping
 * (spin.h), with kicks switched off.
 */

#include <uv.h>

#include "core/backend.h"
#include "core/log.h"
#include "core/mailbox.h"
#include "core/spin.h"
#include "core/stats.h"
#include "core/watch.h"

struct device;
struct device_ring;

struct lane {
    struct device *dev; /* parent */
    unsigned index;     /* in the device; 0: on the disk's own thread */
    pid_t tid;          /* the kernel's number of its thread, for people */
    uv_loop_t *loop;    /* lent */
    struct mailbox mailbox;
    uv_check_t check;
    uv_idle_t idle;              /* active while a turn must follow at once */
    uv_timer_t look;             /* active while the image has work that it will not signal */
    struct watch *backend_watch; /* owned, NULL: the image is closed */
    struct backend *backend;     /* owned, NULL: the image is closed */
    uint64_t ready;              /* rings to look at; bit = index */
    uint64_t used;               /* rings that have had requests: worth looking at in a spin */
    uint64_t quiet;              /* rings that were told not to kick */
    uint64_t unpublished;        /* rings that have finished requests to show */
    uint64_t now_ns;             /* as of the last callback or turn */
    bool has_turn_work;          /* the check phase has something to do */
    bool image_goes_on;          /* it was still at work when the last submit came back */
    bool is_memory_lost;         /* told once */
    struct spin spin;
    struct stats stats;
    struct log_limit guest_log;
    uint64_t errnos_told[3]; /* of failed I/O: each is logged once while the image is open */
    void (*turned)(struct lane *lane); /* at the end of each turn that had work */
    void (*closed)(struct lane *lane);
    unsigned open_handles; /* check, idle, timer and watches; the memory may go at zero */
};

/* Returns 0 or -errno.  `turned` may change whatever its thread may. */
int lane_init(struct lane *lane, struct device *dev, unsigned index, uv_loop_t *loop,
              void (*turned)(struct lane *lane));

/* Nothing in flight, image detached, rings reset or moved. */
void lane_close(struct lane *lane, void (*closed)(struct lane *lane));

/* Returns 0 or -errno: the event fd cannot be waited for. */
int lane_attach(struct lane *lane, struct backend *backend);
struct backend *lane_detach(struct lane *lane);

/* Let a turn follow at once, even if no fd has anything. */
void lane_wake(struct lane *lane);

/* Look at the ring in this turn's check phase: from a callback of the poll phase only. */
void lane_kicked(struct lane *lane, const struct device_ring *r);

/* Look at the ring as if it had been kicked, whenever this is called. */
void lane_look(struct lane *lane, const struct device_ring *r);

/* The guest's memory is not what it was: end the rings. */
void lane_lose_memory(struct lane *lane);

/* The ring stops or moves: nothing of it is in flight or unpublished, and its memory may go. */
void lane_forget(struct lane *lane, const struct device_ring *r);
