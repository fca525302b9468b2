/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disk table on stable storage: DIR/disks.json, read at start, replaced as a whole after
 * each change, so that there is always either the table before it or the one after.  A lock
 * on DIR/lock keeps two daemons apart.
 * Files are written by a thread of its own: a file system that hangs must not hold up the
 * control loop.  Everything else is the control thread's.
 */

#include "daemon/disk_config.h"

#define STATE_VERSION 1

/* One disk of the table. */
struct disk_record {
    struct disk_config config; /* first: disk_config_params apply */
    bool is_stopped;
    int64_t size; /* bytes; with the blocks, what the guest must see again */
    int64_t logical_block;
    int64_t physical_block;
    int64_t opt_io;
};

struct state;

/* One table on its way to the disk.  Owned by the writer from state_save to `done`. */
struct state_save {
    struct message message;
    struct state *state;
    char *text; /* owned */
    struct err err;
    void (*done)(struct state_save *save);
};

/* Lock the directory, which exists. */
int state_open(struct state **out, const char *dir, struct err *err);

/*
 * Read the table; without a file it is empty.  `*records` is the caller's to free.
 * A damaged file or one of a newer version is refused and stays as it is.
 */
int state_read(const struct state *state, struct disk_record **records, size_t *count,
               struct err *err);

/* Start the writer; from here on state_stop ends the life of the state. */
int state_start(struct state *state, struct mailbox *control, struct err *err);

/*
 * Write the table of `count` rows (state_table_row), which are lent until this returns; `done`
 * runs on the control thread.  A row that is NULL fails the whole of it.
 */
void state_save(struct state *state, const char *const *rows, size_t count,
                struct state_save *save);

/* After the last `done`: end the writer, unlock, free; then `stopped(arg)`. */
void state_stop(struct state *state, void (*stopped)(void *arg), void *arg);

/* The same for a state that was not started. */
void state_free(struct state *state);

const char *state_path(const struct state *state);
