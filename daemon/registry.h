/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disks by name, as control sees them: which there are, what was asked of each, and who
 * waits for which answer.  The disks' threads do the work; nothing here waits for them.
 * Owned by the daemon.  Thread: control.
 */

#include "daemon/disk_config.h"
#include "daemon/state.h"

/*
 * One disk.  Owned by the registry from registry_add until its thread has ended and no op of
 * it is under way.
 */
struct disk {
    struct disk *next;
    struct registry *registry; /* parent */
    struct disk_record record;
    char *row;         /* owned: the record as the state file has it, NULL: not made yet */
    bool is_kept;      /* it belongs into the state file */
    bool is_removing;  /* a removal was accepted */
    bool has_ended;    /* its thread was joined */
    unsigned ops;      /* under way */
    unsigned late_ops; /* of those, on the disk's thread past their deadline */
    struct plane plane;
};

/*
 * Something asked of a disk, until its answer has come back and is on stable storage.  It
 * has a deadline, so that a thread stuck in a system call never holds up a client: then
 * `done` runs without the answer, and the op is freed when its message comes back after all.
 */
struct op {
    struct plane_request request; /* the disk thread's until it is answered */
    struct state_save save;
    struct registry *registry; /* parent */
    struct disk *disk;         /* stays as long as the op */
    struct op *next;           /* registry->ops */
    struct op **link;          /* what points to it there */
    uint64_t deadline_ns;
    bool is_saving;
    bool is_late; /* past its deadline: `done` has run */

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
    unsigned open_ms; /* how long the image of a disk may take to open */
};

struct registry {
    struct registry_opts opts;
    struct disk *disks; /* in the order in which they were added */
    struct disk *dying; /* no longer in the table; their threads are ending */
    struct op *ops;     /* under way */
    uv_timer_t timer;   /* not later than the earliest deadline among them */
    uint64_t timer_ns;  /* when that is, UINT64_MAX: it does not run */
    unsigned restoring;
    void (*restored)(void *arg);
    bool is_stopping;
    bool has_hung; /* a disk did not end in time */
    unsigned ending;
    void (*stopped)(void *arg, bool is_clean);
    void *arg;
};

int registry_init(struct registry *registry, const struct registry_opts *opts);

/* After registry_stop has said that all is clean. */
void registry_fini(struct registry *registry);

/*
 * Bring back the disks of the state file, side by side; `restored(arg)` when each is there or
 * has missed its deadline.  What cannot be opened exists all the same, and says why.
 * Returns -errno, with some of them started, when the table cannot be brought back.
 */
int registry_restore(struct registry *registry, const struct disk_record *records, size_t count,
                     void (*restored)(void *arg), void *arg, struct err *err);

/* End all disks, front-ends connected or not; what is in flight is answered first. */
void registry_stop(struct registry *registry, void (*stopped)(void *arg, bool is_clean), void *arg);

/* NULL with -ENOENT in `err` when there is none. */
struct disk *registry_find(const struct registry *registry, const char *name, struct err *err);

/*
 * Ask.  Returns 0 and calls `done` later, or refuses with -errno in `err` and never calls it.
 * registry_add: `config` is completed here, and copied.
 */
int registry_add(struct registry *registry, struct disk_config *config, void (*done)(struct op *op),
                 void *arg, struct err *err);
int registry_info(struct disk *disk, void (*done)(struct op *op), void *arg, struct err *err);
int registry_start(struct disk *disk, void (*done)(struct op *op), void *arg, struct err *err);
int registry_stop_disk(struct disk *disk, uint32_t timeout_ms, void (*done)(struct op *op),
                       void *arg, struct err *err);
int registry_set(struct disk *disk, const struct settings *change, void (*done)(struct op *op),
                 void *arg, struct err *err);
int registry_remove(struct disk *disk, bool force, uint32_t timeout_ms, void (*done)(struct op *op),
                    void *arg, struct err *err);

/* Remove a disk that was opened too late, as if it had never been asked for. */
int registry_take_back(struct disk *disk, struct err *err);

/* An op of the disk has ended: free the disk when it was the last, and its thread has ended. */
void registry_release(struct disk *disk);
