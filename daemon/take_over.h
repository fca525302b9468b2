/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The other side of a hand-over (hand_over.h): a daemon that is started while another one runs,
 * asks it for all of its disks, and goes on with them.  Until it is told that they are its own it
 * touches nothing of a guest's, and whatever fails ends the process without more. Thread: main.
 */

#include <jansson.h>

#include "core/base/parcel.h"
#include "daemon/daemon_opts.h"
#include "daemon/disk_record.h"
#include "daemon/plane_given.h"
#include "daemon/state.h"

struct take_over {
    int sock;   /* owned: to the other process */
    int report; /* owned: whom to tell how it went, what standard output was; -1: nobody any more */
    int errors; /* owned: the same of standard error */
    pid_t before; /* the other process */
    struct parcel parcel;
    json_t *all; /* owned */
    struct unix_listener listener;
    int dir_fd;
    int lock_fd;
    struct plane_given *disk; /* owned; as many as `count` */
    size_t count;
    unsigned thawing;          /* those that have yet to go on, see take_over_disks.h */
    void (*thawed)(void *arg); /* when they have */
    void *arg;
};

/*
 * Ask whoever listens at `control_path` for its disks.  Blocks until they are there; then standard
 * input, output and error, umask, working directory and service manager are the other's, and so is
 * what `opts` says.  Before log_start.  Returns 0 or -errno.
 */
int take_over_begin(struct take_over *take, const char *control_path, unsigned timeout_ms,
                    struct daemon_opts *opts, struct err *err);

/* The state directory with its locks, and the disks' records, which the caller frees. */
int take_over_state(struct take_over *take, const struct daemon_opts *opts, struct state **state,
                    struct disk_record **records, size_t *count, struct err *err);

/*
 * All disks are ready, if they are: say so, and wait for the word.  Returns 0: they are ours; or
 * -errno: they are not, and never will be.
 */
int take_over_commit(struct take_over *take, struct err *err);

/* They go on, all of them: tell whoever has started us, and close what was not taken. */
void take_over_done(struct take_over *take);

/* Tell whoever has started us why it came to nothing. */
void take_over_failed(struct take_over *take, const struct err *err);
