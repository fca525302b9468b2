/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disks by name, as control sees them: which there are, what was asked of each, and who
 * waits for which answer.  The disks' threads do the work; nothing here waits for them.
 * How they come and go is in registry_life.h, what is asked of them in disk_ask.h.
 * Owned by the daemon.  Thread: control.
 */

#include "daemon/disk_config.h"
#include "daemon/keeper.h"
#include "daemon/plane.h"
#include "daemon/socket_watch.h"

/* What a disk's thread wants kept in the state file.  Part of a disk. */
struct record_keep {
    struct keep keep; /* the keeper's while the table is written for it */
    struct disk *disk;
    struct err *err; /* the plane's */
    void (*kept)(struct plane *plane);
};

/*
 * One disk.  Owned by the registry from registry_add until its thread has ended and no op of
 * it is under way; at the end of the daemon until registry_fini, as it belongs into the table.
 */
struct disk {
    struct disk *next;
    struct registry *registry; /* parent */
    struct disk_record record;
    char *row;          /* owned: the record as the state file has it, NULL: not made yet */
    struct op *own;     /* owned: set aside for what the daemon itself asks, NULL: in use */
    bool is_opening;    /* the first time */
    bool ends_then;     /* when that is over: the daemon ends */
    bool is_kept;       /* it belongs into the state file */
    bool is_removing;   /* a removal was accepted */
    bool is_taken_back; /* it was not opened in time */
    bool is_gone;       /* its thread was told to end */
    bool is_absent;     /* it could not be restored, and is in the table until it is removed */
    bool is_left;       /* it went, and its image may be in use until its file system answers */
    bool has_ended;     /* its thread was joined */
    bool is_looking;    /* after its socket: it was asked to */
    bool look_again;    /* something has happened since */
    bool must_look;     /* the socket is not in its place, or that is not known */
    int directory;      /* of the socket, as `watch` numbers it; -1: not watched */
    unsigned ops;       /* under way, with what is kept for the disk's thread */
    unsigned late_ops;  /* of those, on the disk's thread past their deadline */
    struct plane plane;
    struct record_keep cache_keep;    /* for plane.cache */
    struct record_keep handover_keep; /* for plane.keep */
    struct record_keep medium_keep;   /* for plane.medium */
    struct record_keep size_keep;     /* for plane.resize */

    /* Of its image, as its thread said last. */
    struct image_fate fate;
    int image_fd;
};

/*
 * Something asked of a disk, until its answer has come back and is on stable storage.  It
 * has a deadline, so that a thread stuck in a system call never holds up a client: then
 * `done` runs without the answer, and the op is freed when its message comes back after all.
 */
struct op {
    struct plane_request request; /* the disk thread's until it is answered */
    struct keep keep;             /* the keeper's while is_saving */
    struct registry *registry;    /* parent */
    struct disk *disk;            /* stays as long as the op */
    struct op *next;              /* of the registry's list that it is on */
    struct op **link;             /* what points to it there */
    uint64_t deadline_ns;
    bool is_own; /* the daemon's, not of a client */
    bool is_saving;
    bool is_late;    /* past its deadline: `done` has run */
    bool is_unasked; /* what it changes nobody has asked for, and nobody waits for it */
    bool is_excused; /* its deadline was put off, as control was late */

    /* For `done`, which runs once, not later than the deadline. */
    struct err err;                /* code 0: it was done */
    const struct plane_info *info; /* NULL: the disk did not say */
    bool has_changed;              /* start, stop, set: it was not so before */
    void (*done)(struct op *op);
    void *arg;
};

struct registry_opts {
    uv_loop_t *loop;         /* lent, as are all of these */
    struct mailbox *mailbox; /* of the control loop */
    struct state *state;
    const char *socket_dir;
    const char *control_path;
    struct plane_given *given; /* what came of disks from another process, by name */
    size_t given_count;
    unsigned open_ms; /* how long the image of a disk may take to open */
};

struct registry {
    struct registry_opts opts;
    struct disk *disks; /* in the order in which they were added */
    struct disk *dying; /* no longer in the table; their threads are ending */
    struct op *ops;     /* under way */
    struct op *due;     /* just found to be late */
    struct op *late;    /* past their deadlines, not answered yet */
    unsigned op_count;  /* on these three lists */
    uv_timer_t timer;   /* not later than the earliest deadline of `ops` */
    uint64_t timer_ns;  /* when that is, UINT64_MAX: it does not run */
    struct keeper keeper;
    struct socket_watch watch; /* of the disks' sockets */
    uv_timer_t look_timer;     /* runs while a disk needs it */
    char boot[BOOT_ID_BYTES];  /* of the host */
    struct stat state_dir;     /* as it is open */
    unsigned restoring;
    void (*restored)(void *arg);

    /* Of an open: it was answered (`late` NULL), or will not be in time. */
    void (*opened)(struct op *op, const struct err *late);
    void (*released)(struct disk *disk); /* an op of it has ended */

    bool is_frozen; /* another process is just being handed all disks */
    bool is_stopping;
    bool has_stopped; /* all but the table */
    bool has_hung;    /* a disk did not end in time */
    bool has_lost;    /* a disk ended, and what was written to it may be lost */
    unsigned ending;
    void (*stopped)(void *arg, bool is_clean);
    void *arg;
};

/* NULL with -ENOENT in `err` when there is none. */
struct disk *registry_find(const struct registry *registry, const char *name, struct err *err);

/* -EEXIST or -EADDRINUSE: the name, or the socket, is another disk's. */
int registry_refuse_taken(const struct registry *registry, const struct disk_config *config,
                          struct err *err);

/*
 * What the disk's thread says of the image goes into the table.  Returns true when it is another
 * one than before, or has another size, as far as that says, or shows what is not kept yet.
 */
bool registry_keep_image(struct disk *disk, const struct plane_info *info);

/*
 * A guest finds disks by their serials, so one that we choose is no other disk's.  One that was
 * asked for may be: it is another guest's business.
 */
void registry_choose_serial(const struct registry *registry, struct disk_config *config);

/* What came of a disk from another process; NULL: nothing. */
struct plane_given *registry_given(const struct registry *registry, const char *name);
