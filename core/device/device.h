/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk's data plane: binds rings, virtio-blk and an image to the libuv loop of the disk's
 * thread, or to those of several.  Owned by the disk's thread; all here is called by it alone.
 * What happens in a turn of a loop is its lane's business (lane.h); here is what changes a
 * disk: life, set-up, pause and drain.  Lanes on threads of their own are parked for it
 * (lanes.h).
 *
 * Pause, drain, resume is the only state machine: requests are popped if and only if
 * `pause_mask` is empty; what is in flight always ends, is published and signalled.
 */

#include <uv.h>

#include "core/base/stats.h"
#include "core/block/image_opts.h"
#include "core/device/device_choice.h"
#include "core/device/drain.h"
#include "core/block/error_policy.h"
#include "core/device/held.h"
#include "core/device/pause.h"
#include "core/virtio/blk_opts.h"
#include "core/virtio/layout.h"

struct cpus;
struct device;
struct image;
struct lane_map;
struct throttle;

struct device_opts {
    const char *name; /* lent for the device's life, for log lines */
    unsigned queues;
    unsigned queue_size_max; /* what a ring may be set to */
    bool has_packed;         /* they may be packed */
    bool has_in_order;       /* the driver may have its answers in the order of its requests */

    /* The kernel's number of the thread that the disk's own waits for, 0: none.  Thread: any. */
    _Atomic pid_t *awaited; /* lent */
};

/* What is in flight for longest; for people. */
struct device_oldest {
    enum stats_type kind;
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes */
    uint64_t age_ns;
    unsigned ring;
};

struct device_ring_info {
    unsigned index;
    unsigned lane; /* which of the device's threads serves it */
    unsigned size; /* 0: not told yet */
    unsigned inflight;
    unsigned held;       /* that failed, and wait to be tried again */
    uint16_t next_avail; /* index of the next to be popped, and of the next answer */
    uint16_t next_used;
    bool is_packed;
    bool is_enabled;
    bool is_running;
    bool is_broken;
    bool has_inflight_log;
    const char *fault; /* constant text, NULL: none */
};

struct device_lane_info {
    pid_t tid;             /* the kernel's number of the thread */
    unsigned max_inflight; /* of its way to the image */
    char engine[16];       /* that runs, "": the image is closed, or has none */
    char engine_reason[128];
    unsigned batch_reads;  /* given to the image at a time, 0: there was nothing to learn it from */
    unsigned batch_writes; /* the same */
};

/* A copy of all that people ask about. */
struct device_info {
    struct blk_opts blk;
    uint64_t features; /* accepted by the driver */
    bool is_writeback; /* as the config space says, and unless a driver lacks FLUSH */
    bool has_switched; /* a driver has asked for writethrough */
    bool is_in_doubt;  /* it may have, when it was served by somebody else: see blk_doubt */
    unsigned pause_mask;
    unsigned rings_running;
    unsigned rings_broken;
    unsigned rings_blind; /* whose drivers kick where no request is seen */
    unsigned regions;
    uint64_t memory_bytes;
    bool has_lost_memory;
    bool has_oldest;
    struct device_oldest oldest;
    struct held held; /* of all rings, the first of them the one that failed first */
    struct stats stats;
    unsigned lane_count;
    struct device_lane_info lane[LANES_MAX];
    unsigned ring_count; /* of those that the front-end has mentioned */
    struct device_ring_info ring[BLK_MAX_QUEUES];
};

/*
 * Life.  The device starts without an image, paused by PAUSE_ADMIN and PAUSE_GONE.
 * device_close: nothing in flight, image detached; `closed(arg)` is called when it may be freed.
 */
int device_new(struct device **out, uv_loop_t *loop, const struct device_opts *opts,
               const struct blk_opts *blk, struct err *err);
void device_close(struct device *dev, void (*closed)(void *arg), void *arg);
void device_free(struct device *dev);

/*
 * Serve the rings on `count` threads, the disk's own among them: 1 to LANES_MAX, and no
 * more than there are rings; each by the one that `map` names, NULL: in turn.  Paused and drained,
 * by a drain that waits for I/O of our own on threads that end.
 * After an error (no thread, no AIO context) all is as it was.
 */
int device_set_lanes(struct device *dev, unsigned count, const struct lane_map *map,
                     struct err *err);

/*
 * All its threads, and those that help them, run on these CPUs.  New ones run where the disk's own
 * does.  -EINVAL: none of them is there, and nothing has changed.
 */
int device_use_cpus(struct device *dev, const struct cpus *cpus);

/* The kernel's number of a thread. */
pid_t device_lane_tid(const struct device *dev, unsigned lane);

/* Is it so already? */
bool device_has_lanes(const struct device *dev, unsigned count, const struct lane_map *map);

/*
 * Keep the other threads between two turns, so that all of them and their rings can be looked
 * at.  May be nested; functions of this file do it themselves.  It takes as long as a system
 * call in which one of them may be.
 */
void device_park(struct device *dev);
void device_unpark(struct device *dev);

void device_info(struct device *dev, struct device_info *info);

unsigned device_queues(const struct device *dev);
unsigned device_lane_count(const struct device *dev);
uint64_t device_capacity(const struct device *dev);      /* bytes */
uint32_t device_logical_block(const struct device *dev); /* bytes */

/* Of all threads together, from the beginning. */
void device_stats(struct device *dev, struct stats *stats);

/* What was counted before, by another daemon: it has no requests yet. */
void device_count_from(struct device *dev, const struct stats *stats);

/* As the defaults until then. */
void device_set_poll(struct device *dev, const struct device_poll *poll);

/* How many requests are given to the image at a time, 0 (the default): that is learned. */
void device_set_batch(struct device *dev, unsigned batch);

/* Do large requests go through huge pages of ours?  HUGE_AUTO (the default): that is learned. */
void device_set_huge(struct device *dev, enum huge_use use);

/* What becomes of writes of zeroes from the next one on.  DETECT_OFF is the default. */
void device_set_detect_zeroes(struct device *dev, enum detect_zeroes detect);

/* What becomes of requests that fail from the next one on.  ERROR_REPORT is the default. */
void device_set_errors(struct device *dev, const struct error_policy *policy);

/*
 * Who is asked when requests may go, NULL: nobody; lent until another is set.  Rings that wait ask
 * at once: called again with the same by who now says otherwise.
 */
void device_set_throttle(struct device *dev, struct throttle *throttle);

/*
 * Give an open image to the device, or take it back (paused and drained).
 * Attaching returns 1 when the image has grown since (the driver must be told), 0 when it is
 * as it was, -EINVAL when it does not fit any more: smaller, or with larger blocks; -ENOTSUP for
 * any image when the guest was shown what is not served.
 */
int device_attach(struct device *dev, struct image *image, struct err *err);

/* Would that be refused for what the image is, or the guest was shown?  Returns 0 or the same. */
int device_suits(const struct device *dev, const struct image *image, struct err *err);
struct image *device_detach(struct device *dev);

/* What the disk is to have when it is attached the next time; none is now. */
void device_set_capacity(struct device *dev, uint64_t bytes);

/* That is attached, NULL: none. */
struct image *device_image(const struct device *dev);

/* Take no more requests for `reason`; `drain->done` is called when none is in flight. */
void device_pause(struct device *dev, enum pause_reason reason, struct drain *drain);

/* The reason is gone.  When it was the last, all rings are looked at as if kicked. */
void device_resume(struct device *dev, enum pause_reason reason);

/*
 * Try again what failed and is held, and go on where that had paused the device.  Returns false
 * when nothing is held.  Whoever changes what a disk does but for a start leaves it alone.
 */
bool device_retry(struct device *dev);

/*
 * Answer what is held with errors, also where a log of requests in flight would have it tried again
 * (paused and drained): the disk is being removed, or its image is another's from now on.
 */
void device_fail_held(struct device *dev);

/*
 * I/O of a process that was killed may be under way still, out of the guest's buffers and into
 * them: no drain that frees them ends before this is off again.
 */
void device_set_fenced(struct device *dev, bool on);

/*
 * The disk has another medium: the same, and what rings that do not run now find in their log when
 * they start was meant for the one before, and fails then.
 */
void device_outdate_held(struct device *dev);

/* A waiter that no longer waits.  Nothing happens when it is not waiting. */
void device_drain_cancel(struct device *dev, struct drain *drain);

/* All feature bits that are offered: virtio-blk, ring format.  The same as long as the disk is. */
uint64_t device_features(const struct device *dev);

/* Those of them that another program has offered, and this one does not serve. */
uint64_t device_unserved(const struct device *dev);

/* Those that the driver has accepted. */
uint64_t device_accepted(const struct device *dev);

/* Those that a driver may have accepted: see blk_acceptable. */
uint64_t device_acceptable(const struct device *dev);

/*
 * As blk_set_writeback: from the next request on.  What was answered before is no more stable than
 * it was, and what is in flight will not be.
 */
void device_set_writeback(struct device *dev, bool on);

/* As it was set last. */
bool device_has_writeback(const struct device *dev);

/* As blk_is_in_doubt and blk_vouch; until device_reset_rings. */
bool device_is_in_doubt(const struct device *dev);
void device_vouch(struct device *dev);

/* As blk_config_read. */
void device_config_read(const struct device *dev, uint32_t offset, void *to, uint32_t len);

/* The driver's choice.  -EINVAL when it has bits that are not acceptable.  No ring may run. */
int device_set_features(struct device *dev, uint64_t features);

/* The guest's memory, as mem_add, mem_remove and mem_clear (paused and drained). */
int device_memory_add(struct device *dev, const struct mem_layout *layout, int fd, struct err *err);
int device_memory_remove(struct device *dev, const struct mem_layout *layout, struct err *err);
void device_memory_clear(struct device *dev);

/* The memory table has changed (paused and drained): find the rings again, or break them. */
void device_memory_changed(struct device *dev);

/*
 * The log of a live migration (dirty_log.h): `bytes` of `fd` (lent) from `offset` on.  A page is
 * marked after the last store to it, and before the driver is shown the answer of the request.
 * What is stored for requests (data, status) is marked while device_log_data says so, what is
 * stored to a ring while device_ring_set_log does, of each ring; both may come before the log does,
 * which is when marking begins.  All take effect on all threads before they return, for what is in
 * flight as well.  The log covers all memory, or is refused, as are memory and rings that it does
 * not cover. It is given up when the last of those has ended, and by device_reset_rings.
 */
int device_log_open(struct device *dev, uint64_t bytes, uint64_t offset, int fd, struct err *err);
void device_log_data(struct device *dev, bool on);

/* Is there a log, and is what is stored for requests to be marked in it? */
bool device_is_logged(const struct device *dev);

/* `addr` stands for the ring's used part: see ring_set_log. */
int device_ring_set_log(struct device *dev, unsigned index, bool on, uint64_t addr,
                        struct err *err);

/*
 * The log of requests in flight (inflight.h): `bytes` of a file from `offset` on, the same share
 * for each of `queues` rings.  It is judged, ring by ring, when they start, which they do with what
 * it says was not answered, and where it says; one that does not fit breaks its ring.  Kept until
 * device_reset; device_reset_rings forgets what was in flight.
 */
struct device_inflight {
    uint64_t bytes;
    uint64_t offset;
    unsigned queues;
};

/* What so many rings of a size need, with the features that were accepted.  0 or -EINVAL. */
int device_inflight_need(const struct device *dev, unsigned queues, unsigned queue_size,
                         uint64_t *bytes, struct err *err);

/* `fd` is lent.  No ring may run.  Returns 0 or -errno; then all is as it was. */
int device_inflight_open(struct device *dev, const struct device_inflight *log, int fd,
                         struct err *err);

/*
 * A ring's parts, each as told by one message.  Its fds are non-blocking: a peer that makes
 * them block again holds up its own disk, until the ringers' watch sends it on (ringer.h).  A ring
 * runs when size, addresses and a kick fd are there.  All return 0 or -errno with `err` filled; fds
 * are owned by the device after success.  Changing the parts of a ring that runs is refused with
 * -EBUSY; the base may be said again, it is where the ring is.
 */
int device_ring_set_size(struct device *dev, unsigned index, unsigned size, struct err *err);
int device_ring_set_addr(struct device *dev, unsigned index, const struct ring_addr *addr,
                         struct err *err);
int device_ring_set_base(struct device *dev, unsigned index, uint32_t base, struct err *err);
int device_ring_set_kick(struct device *dev, unsigned index, int fd, struct err *err);
int device_ring_set_call(struct device *dev, unsigned index, int fd, struct err *err);
int device_ring_set_err(struct device *dev, unsigned index, int fd, struct err *err);
int device_ring_enable(struct device *dev, unsigned index, bool on, struct err *err);

/* Take no more requests from one ring; `drain->done` when none of it is in flight. */
void device_ring_pause(struct device *dev, unsigned index, struct drain *drain);

/*
 * The same for a ring whose log of requests in flight goes wherever its driver goes: what the image
 * has not been given stays in there when it is stopped next, and is not answered.  Of a ring
 * without such a log all is done.
 */
void device_ring_suspend(struct device *dev, unsigned index, struct drain *drain);
bool device_ring_has_inflight(const struct device *dev, unsigned index);

void device_ring_resume(struct device *dev, unsigned index);

/* After device_ring_pause: end it, give up its fds, return where the next one has to go on. */
uint32_t device_ring_stop(struct device *dev, unsigned index);

/*
 * The same for a ring that is to be set up anew, of which some parts may have come already: all
 * stay as they are but the kick fd, and with a new one it starts.
 */
void device_ring_renew(struct device *dev, unsigned index);

/* Forget rings, their fds, features and log: as new but for the memory (paused and drained). */
void device_reset_rings(struct device *dev);

/* The memory as well. */
void device_reset(struct device *dev);

/* What was told of a ring. */
struct device_ring_told {
    unsigned size; /* 0: not yet */
    bool is_enabled;
    bool is_running;
};

struct device_ring_told device_ring_told(const struct device *dev, unsigned index);
bool device_ring_has_addr(const struct device *dev, unsigned index, const struct ring_addr *addr);

/* Where a ring that runs is: see ring_base. */
uint32_t device_ring_base(struct device *dev, unsigned index);

/* A ring that runs and lies in no memory; -1: none. */
int device_lost_ring(struct device *dev);

/* Has a driver broken a ring, which stays so until it is stopped? */
bool device_has_broken_ring(struct device *dev);

/* Rings that have been started and not stopped. */
unsigned device_rings_running(const struct device *dev);

/* Returns false when nothing is in flight. */
bool device_oldest(struct device *dev, struct device_oldest *oldest);
