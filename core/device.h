/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's data plane: binds rings, virtio-blk and a backend to the libuv loop of the disk's
 * thread, or to those of several.  Owned by the disk's thread; all here is called by it alone.
 * What happens in a turn of a loop is its lane's business (lane.h); here is what changes a
 * disk: life, set-up, pause and drain.  Lanes on threads of their own are parked for it
 * (device_lanes.h).
 *
 * Pause, drain, resume is the only state machine: requests are popped if and only if
 * `pause_mask` is empty; what is in flight always ends, is published and signalled.
 */

#include <uv.h>

#include "core/backend.h"
#include "core/blk.h"
#include "core/lane.h"
#include "core/mem.h"
#include "core/ring.h"

/* Why a device takes no requests.  Reasons do not undo each other. */
enum pause_reason {
    PAUSE_ADMIN = 1 << 0,   /* vblkctl stop: until start */
    PAUSE_MESSAGE = 1 << 1, /* a message that changes memory or rings: until it is answered */
    PAUSE_GONE = 1 << 2,    /* the front-end is going: until the next one */
    PAUSE_EXIT = 1 << 3,    /* removal, shutdown: for good */
    PAUSE_MOVE = 1 << 4,    /* rings go to other threads: until they are there */
};

/*
 * Somebody who waits until nothing is in flight, on the whole device or on one ring.
 * Embedded in the waiter; `done` runs on the disk thread from the check phase, never from
 * within the call that asked for it.
 */
struct drain {
    void (*done)(struct drain *drain);
    struct drain *next;
    const struct device_ring *ring; /* NULL: the whole device */
};

/* Addresses of a ring in the front-end's address space (vhost-user SET_VRING_ADDR). */
struct device_ring_addr {
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
};

struct device_ring {
    struct device *dev; /* parent */
    struct lane *lane;  /* one of the device's: who serves it */
    struct ring ring;
    struct watch *kick; /* owned, NULL: none; owns the kick fd */
    int call_fd;        /* owned, -1: none */
    int err_fd;         /* owned, -1: none */
    unsigned index;
    unsigned size; /* 0: not told yet */
    uint16_t base;
    bool has_addr;
    bool is_enabled;
    bool is_paused; /* by device_ring_pause */
    bool is_fault_told;
    struct device_ring_addr addr;
    uint8_t apart[CACHE_LINE]; /* no cache line has two rings, of two threads */
};

struct device_opts {
    const char *name; /* lent for the device's life, for log lines */
    unsigned queues;
    unsigned queue_size_max; /* what a ring may be set to */
};

/* When a disk's thread looks for work instead of sleeping (spin.h). */
struct device_poll {
    uint32_t max_us;      /* of one spin, 0: never */
    uint32_t cpu_percent; /* share of a core that spinning may take, 1 to 100 */
};

#define DEVICE_POLL_US_DEFAULT 100
#define DEVICE_POLL_US_MAX 1000
#define DEVICE_POLL_CPU_DEFAULT 100

/* Threads of one disk at most; no more than it has rings are of use. */
#define DEVICE_MAX_LANES 16

struct device {
    const char *name;
    unsigned pause_mask;
    unsigned queues;
    unsigned queue_size_max;
    uint64_t features; /* negotiated, ring bits included */
    struct blk blk;
    struct mem mem;
    struct drain *drains; /* waiting */
    void (*closed)(struct device *dev);
    struct lane *lanes[DEVICE_MAX_LANES]; /* the first is `lane`; owned */
    unsigned lane_count;
    unsigned parked; /* calls of device_park that were not undone yet */
    bool has_lost_memory;
    struct stats past; /* of lanes that are gone */
    struct message tell;
    uint8_t apart[CACHE_LINE]; /* from here on, what threads write in their turns */
    _Atomic bool is_telling;   /* `tell` is on its way to the disk's thread */
    struct lane lane;          /* on the disk's own thread */
    uint8_t apart_from_rings[CACHE_LINE];
    struct device_ring ring[BLK_MAX_QUEUES];

    /*
     * The kernel's number of the thread that the disk's own waits for, 0: none.  For people, on
     * any thread and at any time: the one who makes the memory zeroes it, device_init does not.
     */
    _Atomic pid_t awaited;
};

/* What is in flight for longest; for people. */
struct device_oldest {
    enum stats_type kind;
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes */
    uint64_t age_ns;
    unsigned ring;
};

/*
 * Life.  The device starts without an image, paused by PAUSE_ADMIN and PAUSE_GONE.
 * device_close: nothing in flight, image detached; `closed` is called when the memory may go.
 */
int device_init(struct device *dev, uv_loop_t *loop, const struct device_opts *opts,
                const struct blk_opts *blk, struct err *err);
void device_close(struct device *dev, void (*closed)(struct device *dev));

/*
 * Serve the rings on `count` threads, the disk's own among them: 1 to DEVICE_MAX_LANES, and no
 * more than there are rings; ring i goes to the (i % count)th.  Paused and drained.
 * After an error (no thread, no AIO context) all is as it was.
 */
int device_set_lanes(struct device *dev, unsigned count, struct err *err);

/*
 * Keep the other threads between two turns, so that all of them and their rings can be looked
 * at.  May be nested; functions of this file do it themselves.  It takes as long as a system
 * call in which one of them may be.
 */
void device_park(struct device *dev);
void device_unpark(struct device *dev);

/* Of all threads together, from the beginning. */
void device_stats(struct device *dev, struct stats *stats);

/* As the defaults until then. */
void device_set_poll(struct device *dev, const struct device_poll *poll);

/*
 * Give an open image to the device, or take it back (paused and drained).
 * Attaching returns 1 when the image has grown since (the driver must be told), 0 when it is
 * as it was, -EINVAL when it does not fit any more: smaller, or with larger blocks.
 */
int device_attach(struct device *dev, struct backend *backend, struct err *err);
struct backend *device_detach(struct device *dev);

/* Take no more requests for `reason`; `drain->done` is called when none is in flight. */
void device_pause(struct device *dev, enum pause_reason reason, struct drain *drain);

/* The reason is gone.  When it was the last, all rings are looked at as if kicked. */
void device_resume(struct device *dev, enum pause_reason reason);

/* A waiter that no longer waits.  Nothing happens when it is not waiting. */
void device_drain_cancel(struct device *dev, struct drain *drain);

/* All feature bits that are offered: virtio-blk, ring format. */
uint64_t device_features(const struct device *dev);

/* The driver's choice.  -EINVAL when it has bits that are not offered.  No ring may run. */
int device_set_features(struct device *dev, uint64_t features);

/* The memory table has changed (paused and drained): find the rings again, or break them. */
void device_memory_changed(struct device *dev);

/*
 * A ring's parts, each as told by one message.  Its fds are non-blocking: a peer that makes
 * them block again holds up its own disk.  A ring runs when size, addresses and a kick
 * fd are there.  All return 0 or -errno with `err` filled; fds are owned by the device after
 * success.  Changing the parts of a ring that runs is refused with -EBUSY.
 */
int device_ring_set_size(struct device *dev, unsigned index, unsigned size, struct err *err);
int device_ring_set_addr(struct device *dev, unsigned index, const struct device_ring_addr *addr,
                         struct err *err);
int device_ring_set_base(struct device *dev, unsigned index, unsigned base, struct err *err);
int device_ring_set_kick(struct device *dev, unsigned index, int fd, struct err *err);
int device_ring_set_call(struct device *dev, unsigned index, int fd, struct err *err);
int device_ring_set_err(struct device *dev, unsigned index, int fd, struct err *err);
int device_ring_enable(struct device *dev, unsigned index, bool on, struct err *err);

/* Take no more requests from one ring; `drain->done` when none of it is in flight. */
void device_ring_pause(struct device *dev, unsigned index, struct drain *drain);

/* After device_ring_pause: end it, return the next available index. */
uint16_t device_ring_stop(struct device *dev, unsigned index);

/* Forget rings, fds, memory and features: as new (paused and drained). */
void device_reset(struct device *dev);

/* Rings that have been started and not stopped. */
unsigned device_rings_running(const struct device *dev);

/* Returns false when nothing is in flight. */
bool device_oldest(struct device *dev, struct device_oldest *oldest);
