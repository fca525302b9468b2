/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disk table on stable storage: DIR/disks.json, read at start, replaced as a whole after
 * each change, so that there is always either the table before it or the one after.  Locks
 * on DIR and on DIR/lock keep two daemons apart.
 * Files are written by a thread of its own: a file system that hangs must not hold up the
 * control loop.  Everything else is the control thread's.
 */

#include <sys/stat.h>

#include "core/base/mailbox.h"
#include "daemon/disk_record.h"

/* In the directory; locked by flock(2). */
#define STATE_LOCK_NAME "lock"

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
int state_read(struct state *state, struct disk_record **records, size_t *count, struct err *err);

/* Start the writer; from here on state_stop ends the life of the state. */
int state_start(struct state *state, struct mailbox *control, struct err *err);

/* Write the table, and free `text`; `done` runs on the control thread.  One at a time. */
void state_save(struct state *state, char *text, struct state_save *save);

/* After the last `done`: end the writer, unlock, free; then `stopped(arg)`. */
void state_stop(struct state *state, void (*stopped)(void *arg), void *arg);

/* The same for a state that was not started. */
void state_free(struct state *state);

/*
 * Of another process, whose locks go along with these two, and are lent; and what is made of them
 * there, which owns them from then on.  Nothing is being written.
 */
void state_give(const struct state *state, int *dir_fd, int *lock_fd);
int state_take(struct state **out, const char *dir, int dir_fd, int lock_fd, struct err *err);

/* It is ours now, for people who ask who has it. */
void state_note_holder(const struct state *state);

/*
 * For a process that cannot end in order: unlock, unless the writer is at work, which may replace
 * the table whenever its file system answers.
 */
void state_let_go(const struct state *state);

const char *state_path(const struct state *state);

/* The directory, as it is open. */
int state_stat(const struct state *state, struct stat *st);
