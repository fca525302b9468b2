/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Keeps the table of disks on stable storage: what has changed is written, and what could not
 * be written is tried again: with the next change, by the clock, and at the end.  One write is
 * under way at a time; what changes meanwhile goes with the next.
 * Owned by the registry.  Thread: control.
 */

#include <uv.h>

#include "daemon/state.h"

/* Between two tries by the clock: doubled after each. */
#define KEEPER_RETRY_MS 1000
#define KEEPER_RETRY_MS_MAX 60000

/* A write that takes longer than that is told of. */
#define KEEPER_SLOW_MS 2000

/* Somebody who waits for the table.  Owned by the caller, lent to the keeper until `done`. */
struct keep {
    struct keep *next;
    uint64_t change; /* up to which the table must be there */
    void (*done)(struct keep *keep, const struct err *err); /* err->code 0: it is */
};

struct keeper_opts {
    uv_loop_t *loop;     /* lent */
    struct state *state; /* lent, started */
    /* The table as it is, the caller frees it; NULL with the reason in `err`. */
    char *(*text)(void *arg, struct err *err);
    void *arg;
};

struct keeper {
    struct keeper_opts opts;
    struct state_save save; /* the writer's while is_saving */
    uint64_t changes;       /* of the table, so far */
    uint64_t saving;        /* up to which change the write under way has it */
    uint64_t saved;         /* the same on stable storage */
    uint64_t awaited;       /* the latest that somebody has waited for */
    struct keep *waiting;
    struct err err; /* why the last try failed, code 0: it did not */
    uint64_t began_ns;
    unsigned retry_ms;
    uv_timer_t retry;
    void (*finished)(void *arg);
    bool is_saving;
    bool is_last; /* the try after which keeper_finish gives up */
};

/* Returns 0 or -errno. */
int keeper_init(struct keeper *keeper, const struct keeper_opts *opts);

/* The table is otherwise than before: it is written when somebody waits for it. */
void keeper_change(struct keeper *keeper);

/* Write what has changed before long, though nobody waits for it. */
void keeper_soon(struct keeper *keeper);

/* Is something not on stable storage yet? */
bool keeper_is_dirty(const struct keeper *keeper);

/* Write the table, and tell when it is there, or why it is not. */
void keeper_wait(struct keeper *keeper, struct keep *keep);

/*
 * Why what was told before is not on stable storage: 0 when all is, or is just being written;
 * else -errno with a sentence.
 */
int keeper_why(const struct keeper *keeper, struct err *err);

/* The same, but of what somebody has waited for, and without regard to time. */
int keeper_lost(const struct keeper *keeper, struct err *err);

/* Try once more if there is need, and call `finished(opts.arg)` when nothing is under way. */
void keeper_finish(struct keeper *keeper, void (*finished)(void *arg));

/* After keeper_finish has finished, or when nothing was ever changed. */
void keeper_fini(struct keeper *keeper);
