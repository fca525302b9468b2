/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the front-end has told of a ring, part by part, until it starts; what is served of it then
 * is its queue.
 * Part of a device.  Disk thread only, with the lanes parked.
 */

#include "core/device/queue.h"

struct ring_setup {
    struct queue *queue; /* the parent's */
    unsigned size_max;   /* what it may be set to */
    unsigned size;       /* 0: not told yet */
    uint32_t base;       /* where it goes on when it starts: see ring_base */
    bool has_base;       /* that was told */
    bool has_addr;
    struct ring_addr addr;
    bool is_logged;                /* what is stored to it is to be marked, when there is a log */
    uint64_t log_addr;             /* as which guest address: see ring_set_log */
    bool has_started;              /* since it was reset */
    struct inflight_area inflight; /* its share of the log of requests in flight, when it starts */
    bool is_outdated;              /* what it finds in there is of another medium */
};

void ring_setup_init(struct ring_setup *r, struct queue *queue, unsigned size_max);

/* Stop it, give up its fds, forget what it was told.  Nothing of it is in flight. */
void ring_setup_reset(struct ring_setup *r);

/* Find the parts again after the memory has changed; a ring that lost its own is broken. */
void ring_setup_remap(struct ring_setup *r);

/* See device_ring_set_size and those after it: the ring starts with the last part. */
int ring_setup_size(struct ring_setup *r, unsigned size, struct err *err);
int ring_setup_addr(struct ring_setup *r, const struct ring_addr *addr, struct err *err);
int ring_setup_base(struct ring_setup *r, uint32_t base, struct err *err);
int ring_setup_kick(struct ring_setup *r, int fd, struct err *err);

/* What was in flight when it was stopped here is of a driver that is gone. */
void ring_setup_forget_inflight(const struct ring_setup *r);

/* See device_ring_set_log; a ring may run. */
int ring_setup_log(struct ring_setup *r, bool on, uint64_t addr, struct err *err);

/* Does a log of so many bytes reach to the end of what the ring is to mark?  Returns 0 or -EINVAL.
 */
int ring_setup_check_log(const struct ring_setup *r, const struct dirty_log *log, struct err *err);

/* There is another log, or none. */
void ring_setup_use_log(struct ring_setup *r);

/*
 * Nobody will ask for what it holds: whoever serves it next goes on behind that.  So the guest is
 * told, if its memory is still there.  Nothing of it is in flight, and it ends next.
 */
void ring_setup_fail_held(struct ring_setup *r);

/* The disk has another medium: what is held, or found when it starts next, is not for that. */
void ring_setup_outdate(struct ring_setup *r);

/* End it, and its kicks: it starts with a new kick fd.  Nothing of it is in flight. */
void ring_setup_renew(struct ring_setup *r);
