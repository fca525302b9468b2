/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disk thread's half of a disk: its device, its image, its vhost-user socket.
 * The registry makes and frees the memory; in between everything but `opts` and the worker
 * belongs to the disk's thread, and the registry speaks to it by requests only.
 *
 *             open             stop              drained
 *   OPENING --------> RUNNING ------> STOPPING ----------> STOPPED
 *      |  (restore:      ^ ^-------------'  start             |
 *      |   the image is  '------------------------------------'  start
 *      |   not there)
 *      '----> FAILED     start: RUNNING, or still FAILED; stop: STOPPED
 *
 *   any --remove--> REMOVING --drained, all closed--> GONE --plane_end--> the thread ends
 */

#include "core/device.h"
#include "daemon/settings.h"
#include "daemon/worker.h"
#include "transports/unix_socket.h"
#include "transports/vhost_user.h"

#define DISK_NAME_BYTES 64 /* the final NUL included */

enum plane_state {
    PLANE_OPENING,
    PLANE_RUNNING,
    PLANE_STOPPING,
    PLANE_STOPPED,
    PLANE_FAILED,
    PLANE_REMOVING,
    PLANE_GONE,
};

/* What the guest sees of the image's shape; must not change while the disk exists. */
struct plane_geometry {
    uint64_t size; /* bytes */
    uint32_t logical_block;
    uint32_t physical_block;
    uint32_t opt_io;
};

/* Never changed after plane_init; read by both threads. */
struct plane_opts {
    char name[DISK_NAME_BYTES];
    char socket_path[UNIX_PATH_BYTES];
    struct backend_opts image;      /* path: lent for the plane's life; without its engine */
    struct plane_geometry geometry; /* 0: as the image has it */
    struct settings settings;       /* to begin with */
    char serial[BLK_SERIAL_BYTES + 1];
    unsigned queues;
    unsigned queue_size;
    bool is_restored; /* geometry is complete; the disk exists even when its image does not open */
    bool is_stopped;  /* restored only: leave it stopped */
};

struct plane_ring_info {
    unsigned index;
    unsigned lane; /* which of the disk's threads serves it */
    unsigned size;
    unsigned inflight;
    uint16_t last_avail;
    uint16_t used;
    bool is_enabled;
    bool is_running;
    bool is_broken;
    const char *fault; /* constant text, NULL: none */
};

struct plane_lane_info {
    pid_t tid;       /* the kernel's number of the thread */
    char engine[16]; /* that runs, "": the image is closed, or has none */
    char engine_reason[128];
};

/* A copy of all that people ask about. */
struct plane_info {
    enum plane_state state;
    char reason[512]; /* why it failed, "": it did not */
    struct plane_geometry geometry;
    bool is_readonly;
    bool is_listening;
    bool has_image;
    uint64_t image_size;
    uint32_t image_block;
    uint32_t image_physical_block;
    unsigned image_max_inflight;
    struct settings settings;
    bool has_peer;
    struct vhost_user_peer peer;
    uint64_t features;
    unsigned pause_mask;
    unsigned rings_running;
    unsigned regions;
    uint64_t memory_bytes;
    bool has_lost_memory;
    bool has_oldest;
    struct device_oldest oldest;
    uint64_t time_ns; /* monotonic, when this was copied */
    struct stats stats;
    unsigned lane_count;
    struct plane_lane_info lane[DEVICE_MAX_LANES];
    unsigned ring_count;
    struct plane_ring_info ring[BLK_MAX_QUEUES];
};

enum plane_verb {
    PLANE_OPEN,
    PLANE_INFO,
    PLANE_START,
    PLANE_STOP,
    PLANE_REMOVE,
    PLANE_SET,
};

#define PLANE_NO_TIMEOUT UINT32_MAX

/*
 * One thing asked of a disk.  Owned by the disk's thread from plane_send to `answered`,
 * which runs on the control thread, once.
 */
struct plane_request {
    struct message message;
    struct plane *plane;
    void (*answered)(struct plane_request *request);

    /* Asked. */
    enum plane_verb verb;
    bool force;             /* remove: also with a front-end connected */
    bool undo;              /* remove: with the image that the disk made when it was added */
    uint32_t timeout_ms;    /* stop, remove, set: how long to wait for what is in flight */
    struct settings change; /* set */

    /* Answered.  `err.code` is 0 or -errno. */
    struct err err;
    bool has_changed; /* start, stop, set: it was not so before */
    struct plane_info info;

    /* The disk thread's, while the request waits for a drain. */
    struct plane_request *next;
    uint64_t deadline_ns;
};

struct plane {
    struct plane_opts opts;
    struct worker worker;

    /* Runs on the control thread, before removers are told: nothing is left but the thread. */
    void (*gone)(struct plane *plane);
    void (*ended)(struct plane *plane);
    struct message gone_message;
    struct message end_message;

    /* The disk thread's. */
    enum plane_state state;
    char reason[512];
    struct settings settings;
    struct device dev;
    struct vhost_user *vu; /* owned, NULL: not listening */
    uv_timer_t timer;      /* the earliest deadline of those who wait */
    struct drain stop_drain;
    struct drain remove_drain;
    struct drain move_drain;
    struct plane_request *waiting; /* for STOPPING or REMOVING to end, or `moving` */
    struct plane_request *moving;  /* whose rings go to other threads when all is drained */
    bool undo;                     /* the removal is one */
    struct plane_request *opening; /* open that failed, until its handles are closed */
};

/*
 * Start the disk's thread.  `opts` is copied.
 * gone   after a removal, or after an open that failed: call plane_end
 * ended  the thread is joined: the memory may go
 * Thread: control.
 */
int plane_start(struct plane *plane, const struct plane_opts *opts, struct mailbox *control,
                void (*gone)(struct plane *plane), void (*ended)(struct plane *plane),
                struct err *err);

/* The first request must be PLANE_OPEN; none after plane_end.  Thread: control. */
void plane_send(struct plane *plane, struct plane_request *request);

/* Once, after `gone`.  Thread: control. */
void plane_end(struct plane *plane);

const char *plane_state_name(enum plane_state state);
