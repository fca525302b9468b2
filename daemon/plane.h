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
 *   RUNNING --its guest was migrated--> STOPPING --> WAITING --a guest comes--> RUNNING
 *   OPENING --added for a guest that comes, its image looked at--> WAITING --stop--> STOPPED
 *
 * The image is being closed in STOPPING and REMOVING, behind the drain, and in all of those in
 * which a start has failed.
 *
 *   OPENING --it is added, and fails or is removed--> GONE
 *   any --remove--> REMOVING --drained, all closed--> GONE --plane_end--> the thread ends
 */

#include "core/device/device.h"
#include "core/device/device_change.h"
#include "core/device/device_sync.h"
#include "core/base/errand.h"
#include "core/base/log.h"
#include "core/block/image_fate.h"
#include "core/block/image_loss.h"
#include "daemon/disk_params.h"
#include "daemon/socket_dir.h"
#include "daemon/worker.h"
#include "transports/unix_socket.h"
#include "transports/vhost_user.h"

struct image_closing;
struct plane_freeze;
struct plane_given;
struct image_opening;
struct node;
struct plane;

enum plane_state {
    PLANE_OPENING,
    PLANE_RUNNING,
    PLANE_STOPPING,
    PLANE_STOPPED,
    PLANE_FAILED,
    PLANE_WAITING, /* for its guest: the image is nobody's here */
    PLANE_REMOVING,
    PLANE_GONE,
};

/* What the guest sees of the image's shape; must not change while the disk exists. */
struct plane_geometry {
    uint64_t size; /* bytes */
    uint32_t logical_block;
    uint32_t physical_block;
    uint32_t alignment;
    uint32_t min_io;
    uint32_t opt_io;
    struct blk_chs chs;
    uint32_t discard_block;
    enum blk_zeroes zeroes;
    struct blk_shown shown;
};

/* Never changed after plane_init but for `image`; the rest is read by both threads. */
struct plane_opts {
    char name[DISK_NAME_BYTES];
    char socket_path[UNIX_PATH_BYTES];
    char socket_label[256];             /* "": none is given */
    struct socket_rights socket_rights; /* without the label */
    const char *socket_dir;  /* lent for the plane's life: what is missing there is made; NULL */
    struct image_opts image; /* without its engine; of the disk's thread, path copied */
    struct plane_geometry geometry; /* 0: as the image has it; of discards and zeroes the most */
    struct image_id image_id;       /* restored: of the image that it had open last */
    uint64_t fence;                 /* see disk_fence.h; 0: it has none */
    struct stats counters;          /* the same: to begin with */
    struct settings settings;       /* to begin with */
    char serial[BLK_SERIAL_BYTES + 1];
    unsigned queues;
    unsigned queue_size;
    unsigned seg_max; /* 0: as the queue size has it */
    struct blk_limits limits;
    bool has_config_wce; /* the driver may switch between writeback and writethrough */
    bool has_packed;     /* its rings may be packed */
    bool has_in_order;   /* and its answers in the order of its requests */
    bool is_pinned;      /* new: geometry is complete but for the size */
    bool is_restored; /* geometry is complete; the disk exists even when its image does not open */
    bool is_stopped;  /* restored only: leave it stopped */
    bool is_writethrough; /* restored only: its driver has asked for it */
    bool is_incoming;     /* its guest comes by migration, or has gone: leave the image alone */

    /* restored: from another process, until it goes on; lent.  Of the disk's thread.  NULL: not so
     */
    struct plane_given *given;

    /* Keep plane->cache.is_writethrough, then plane_cache_kept.  Runs on the control thread. */
    void (*keep_cache)(struct plane *plane);

    /* Keep that the disk has plane->resize.wanted bytes, then plane_resize_kept.  The same. */
    void (*keep_size)(struct plane *plane);

    /* Keep that the image is handed over, then plane_keep_kept.  Runs on the control thread. */
    void (*keep_handover)(struct plane *plane);

    /* Keep plane->medium.kept, then plane_medium_kept.  Runs on the control thread. */
    void (*keep_medium)(struct plane *plane);
};

/* A copy of all that people ask about. */
struct plane_info {
    enum plane_state state;
    char reason[512]; /* why it failed, "": it did not */
    struct plane_geometry geometry;
    bool is_readonly;
    bool is_listening;
    char socket_fault[256]; /* why the socket is not in its place, "": it is */
    bool has_image;
    uint64_t image_size;
    bool has_image_now;
    uint64_t image_now; /* as it was found to be last */
    uint32_t image_block;
    uint32_t image_physical_block;
    struct image_loss loss;   /* of the image that is open, or was open last */
    struct image_id image_id; /* of the same */
    struct image_fate fate;   /* as of the latest look */
    uint64_t look_age_ns;     /* of one that is not back, 0: none is under way */
    int image_fd;             /* while it is open */
    uint64_t sync_age_ns;     /* of the flush before it is closed, 0: none is under way */
    char note[128]; /* what was odd about the image when the disk was added, "": nothing */
    struct settings settings;
    char cpus_elsewhere[CPUS_TEXT_BYTES]; /* where a thread runs that is not on its CPUs, or "" */
    bool has_peer;
    struct vhost_user_peer peer;
    char hung_up[512]; /* on whom, see vhost_user_hung_up; "" while a ring runs */
    struct device_info device;
    uint64_t time_ns; /* monotonic, when this was copied */
};

enum plane_verb {
    PLANE_OPEN,
    PLANE_INFO,
    PLANE_START,
    PLANE_STOP,
    PLANE_REMOVE,
    PLANE_SET,
    PLANE_MEDIUM,
    PLANE_RESIZE,
    PLANE_FREEZE, /* it may go to another process: stand still */
    PLANE_THAW,   /* it has come from one: go on */
    PLANE_LOOK,   /* after the socket */
    PLANE_HURRY,  /* of a disk that is being added: the daemon ends */
};

#define PLANE_NO_TIMEOUT UINT32_MAX

enum medium_change { MEDIUM_REPLACE, MEDIUM_INSERT, MEDIUM_EJECT };

/* What is to become of a disk's image. */
struct medium_ask {
    enum medium_change change;
    struct image_config image;  /* as it is to be, path and format aside like `before` */
    struct image_config before; /* as it is */
};

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
    bool force;      /* stop, remove: whatever speaks against it */
    bool wants_look; /* info: with what has become of the image's file */
    bool decides;    /* info: by that, so it waits as long as a stop would */
    bool undo;       /* remove: with the image that the disk made when it was added */
    bool new_image;  /* start: also with another image than it had open last */
    bool is_exit;    /* remove, hurry: the daemon ends, after `timeout_ms` in any case */
    bool shrink;     /* resize: to less than it has, too */
    uint32_t
        timeout_ms; /* open, start, stop, remove, set: how long to wait for what is in flight */
    struct settings change;      /* set */
    struct medium_ask *medium;   /* medium: owned by who asks */
    uint64_t size;               /* resize: bytes, 0: what the image has */
    struct plane_freeze *freeze; /* freeze: counted, see there */

    /* Answered.  `err.code` is 0 or -errno. */
    struct err err;
    bool is_done;     /* stop, remove, medium: it was done, whatever `err` says */
    bool goes_on;     /* start: it is under way still, and `err` says why */
    bool has_changed; /* start, stop, set, resize, medium: it was not so before */
    bool is_left;     /* remove, hurry: it was done, but its image may be in use still */
    bool is_blind;    /* info, stop, remove: there was no thread to look at the image's file */
    struct plane_info info;
    uint64_t old_size; /* resize: bytes that the guest knew before */
    enum vhost_user_told told;

    /* The disk thread's, while the request waits for a drain, or for a look at the image. */
    struct plane_request *next;
    void (*then)(struct plane *plane, struct plane_request *request); /* after the look */
    void (*late)(struct plane *plane, struct plane_request *request); /* its time has passed */
    uint64_t asked_ns;
    uint64_t deadline_ns;
};

/* Looks at what has become of the image's file (plane_look.h). */
struct plane_look {
    struct errand errand;
    void (*done)(struct plane *plane);
    bool is_busy;  /* the errand is under way */
    bool is_stale; /* and it looks after an image that is the disk's no more */
    uint64_t begun_ns;
    struct node *node;       /* whose file is looked at: a count, the errand's */
    char path[PATH_MAX];     /* the same */
    struct image_fate found; /* the errand's while it is under way */
    bool has_found_size;     /* the same */
    uint64_t found_size;     /* the same; bytes */
    struct image_fate latest;
    bool has_size;
    uint64_t size;               /* of the same look */
    uint64_t size_ns;            /* when that had begun */
    const struct node *measured; /* whose it was: no longer to be touched */
};

/* How far a change of the disk's size is. */
enum plane_resize_phase {
    PLANE_RESIZE_NONE,
    PLANE_RESIZE_LOOKS,  /* how large the image is, and makes it larger: an errand */
    PLANE_RESIZE_DRAINS, /* so that the guest can have less */
    PLANE_RESIZE_KEEPS,  /* that it has less: control does */
    PLANE_RESIZE_CUTS,   /* the image: an errand */
};

/* Another size of the disk, as a client asks for it (plane_resize.h). */
struct plane_resize {
    enum plane_resize_phase phase;
    struct errand errand;
    struct device_change change;
    struct message message;        /* to keep it, and back */
    struct plane_request *request; /* who waits, NULL: nobody any more */
    struct node *node;             /* of the latest errand: its count */
    uint64_t before;               /* bytes, the guest's */
    uint64_t wanted;               /* bytes, 0: what the image has */
    bool has_changed;
    enum vhost_user_told told;
    uint64_t begun_ns;
    uint64_t ended_ns;
    uint64_t left_over; /* bytes of an image that could not be cut; 0: there is none */

    /* The errand's, or control's, while it is under way. */
    uint64_t found; /* bytes that the image had */
    struct err err;
};

/* Looks by the clock, for an image that grows (plane_notice.h). */
struct plane_notice {
    uv_timer_t timer;
    void (*look)(struct plane *plane);
    struct log_limit log;
};

/* The flush before the image is closed (plane_sync.h). */
struct plane_sync {
    struct device_sync flush;
    struct drain drain;
    void (*done)(struct plane *plane); /* who waits for it, NULL: nobody */
    enum pause_reason reason;
    bool is_due;              /* it has not begun */
    uint64_t since_ns;        /* when it was asked for */
    struct image_loss failed; /* the first of ours that failed since the image was opened */
};

/* The image that is being closed (plane_close.h). */
struct plane_close {
    struct image_opening *opening;     /* of an image that is closed once it is there, or NULL */
    struct image_closing *closing;     /* NULL: none is */
    void (*done)(struct plane *plane); /* who waits for it, NULL: nobody */
    uint64_t begun_ns;
    bool unmake;  /* what is opened, see image_unmake */
    bool is_left; /* nobody waited for its end */
};

/* What tells control that the disk runs after all, or does not (plane_resumed.h). */
struct plane_resumed {
    struct message message;
    bool is_busy; /* the message is under way */
    bool is_due;  /* once more, when it is back */

    /* What it tells; control's while it is under way. */
    bool runs;
    struct plane_info info;
};

/* What the driver has said of its cache, until it is kept (plane_cache.h). */
struct plane_cache {
    struct message message;
    struct device_sync flush;
    bool is_busy; /* the flush, or the message, is under way */
    bool is_due;  /* once more, when the message is back */

    /* Control's while the message is under way. */
    bool is_writethrough;
    struct err err; /* code 0: it is kept */
};

/* That the image is handed over, until that is kept (plane_keep.h). */
struct plane_keep {
    struct message message;
    void (*done)(struct plane *plane); /* who waits for it, NULL: nobody */
    bool is_busy;                      /* the message is under way */
    bool is_due;                       /* once more, when it is back */
    struct err err;                    /* control's while it is under way; code 0: it is kept */
};

/* The tries to have the image for a guest that has come (plane_await.h). */
struct plane_await {
    uv_timer_t timer; /* until the next */
    bool is_busy;     /* the latest was refused as somebody else has it */
    bool is_retry;    /* the one that is under way does not look for who */
    uint64_t told_ns; /* who that is was last looked for */
    void (*take)(struct plane *plane);
    struct log_limit log;
};

/* The tries to have the image of a disk that came back without (plane_retry.h). */
struct plane_retry {
    uv_timer_t timer; /* until the next */
    unsigned wait_ms; /* 0: there is no next */
    void (*start)(struct plane *plane);
};

/* How far the change of a disk's image is (plane_medium.h). */
enum plane_medium_phase {
    MEDIUM_NONE,
    MEDIUM_OPENS,   /* the image that is to be the disk's */
    MEDIUM_FLUSHES, /* the one that it has, beside what its guest does */
    MEDIUM_DRAINS,  /* and once more, with nothing in flight */
    MEDIUM_KEEPS,   /* control writes down what it is to be */
    MEDIUM_SWAPS,   /* lanes get their ways to it */
    MEDIUM_UNDOES,  /* control writes down that it is as it was */
    MEDIUM_CLOSES,  /* the image that is not the disk's */
};

struct plane_medium {
    enum plane_medium_phase phase;
    struct medium_ask asked;
    bool force;
    bool is_same;                  /* it is open already, by another path */
    bool is_paused;                /* by PAUSE_MEDIUM */
    bool is_flushing;              /* `flush` is under way, wanted or not */
    struct plane_request *request; /* who waits for it, NULL: nobody any more */
    struct image_opening *opening; /* NULL: none is */
    struct image_closing *closing; /* NULL: none is */
    enum vhost_user_told told;     /* insert, eject: what its guest knows of the other size */
    struct image *image;           /* owned: not the disk's yet, or no longer; NULL: none is */
    struct device_sync flush;
    struct device_change change;
    struct message message; /* to control, or to ourselves */
    struct err refusal;     /* why it is not done, code 0: nothing speaks against it */

    /* Control's while the message is under way to it: what the table is to have. */
    struct {
        const struct image_config *image;
        struct image_id id;
        uint64_t size;  /* bytes */
        struct err err; /* code 0: it has */
    } kept;
};

/*
 * The disk's place among those that share its limits (plane_limits.h).  While it moves from one
 * group to another it has two.
 */
struct plane_limits {
    struct limit_member member[2];
    unsigned at;            /* the one that counts */
    struct message message; /* from whoever has set what holds for all */
    _Atomic bool is_told;   /* it is on its way */
};

/* How far a start is that somebody waits for, or was told of (plane_opening.h). */
enum plane_start_phase {
    PLANE_START_NONE,
    PLANE_START_WAITS, /* until the image that a stop closes is closed */
    PLANE_START_OPENS, /* the image */
    PLANE_START_FAILS, /* what was opened could not be taken, and is being closed */
};

struct plane_start {
    enum plane_start_phase phase;
    bool is_restore;  /* it is the daemon's start that wants it */
    bool is_take;     /* a guest that has come does, and nobody else */
    bool is_retry;    /* nobody but the clock does */
    bool is_told;     /* somebody was told that it goes on */
    bool may_differ;  /* and it may be another image than was open last */
    uint64_t late_ns; /* restored: until then control waits for it */
};

struct plane {
    struct plane_opts opts;
    struct worker worker;

    /* Runs on the control thread, before removers are told: nothing is left but the thread. */
    void (*gone)(struct plane *plane);
    void (*ended)(struct plane *plane);
    void (*resumed)(struct plane *plane);
    void (*guest_came)(void *arg); /* see struct vhost_user_opts */
    void (*guest_left)(void *arg);
    struct message gone_message;
    struct message end_message;

    /* The kernel's number of the thread that this one waits for, 0: none.  Thread: any. */
    _Atomic pid_t awaited;

    /* The disk thread's. */
    enum plane_state state;
    char reason[512];
    char socket_fault[256];
    struct socket_dir socket_dir; /* as it was when the socket was last in its place */
    struct settings settings;
    struct device *dev;    /* owned, NULL: not there yet, or no longer */
    struct vhost_user *vu; /* owned, NULL: not listening */
    uv_timer_t timer;      /* the earliest deadline of those who wait */
    struct drain stop_drain;
    struct drain remove_drain;
    struct drain move_drain;
    struct drain freeze_drain;
    uv_timer_t freeze_timer; /* runs while it comes to rest, to be frozen */
    uint64_t freeze_begun_ns;
    struct plane_request *freezing; /* who waits for that */
    bool is_freeze_drained;
    char image_path[PATH_MAX]; /* opts.image.path */
    struct image_id image_id;  /* of the image that is open, or was open last */
    struct plane_look look;
    struct plane_resize resize;
    struct plane_notice notice;
    struct plane_sync sync;
    struct image_loss loss;        /* of the image that was open last, while none is */
    struct plane_request *waiting; /* for STOPPING or REMOVING to end, or `moving` */
    struct plane_request *moving;  /* whose rings go to other threads when all is drained */
    bool undo;                     /* the removal is one */
    bool is_exit;                  /* it is the end of the daemon */
    bool is_handover;              /* the stop that is under way is one */
    bool is_stop_forced;           /* the same stop */
    bool is_stop_told;             /* of the same: somebody was told that it goes on */
    struct plane_resumed again;
    struct plane_cache cache;
    struct plane_keep keep;
    struct plane_medium medium;
    struct plane_await await;
    struct plane_retry retry;
    struct plane_close close;
    struct plane_limits limits;
    struct image_opening *image_opening; /* wanted, under way; NULL: none is.  START, OPEN wait */
    struct plane_start start;
    struct err refusal;    /* why nothing came of the opening, until its image is closed */
    struct stats counters; /* when its device was closed */
};

const char *plane_state_name(enum plane_state state);

/* For people: how far a change of the image is; NULL: none is under way. */
const char *plane_medium_reason(const struct plane *plane);
