/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Something that may block for ever, done on a thread of its own, whose sender may go meanwhile:
 * then it is abandoned, cleans up after itself, and nobody waits for that, not even the end of the
 * process.  For what never outlives its sender there are errands (errand.h).
 * Embedded in an object from malloc, which is the chore's from chore_send on.
 */

#include "core/base/mailbox.h"

struct chore {
    struct message message;
    struct mailbox *home; /* the sender's */
    bool is_abandoned;    /* the sender writes it, under the mutex of all chores */
    const char *name;     /* of its thread; constant text */

    /* On a thread of its own, and touches nothing but the object. */
    void (*run)(struct chore *chore);

    /* One of these follows, once, and frees the object. */
    void (*done)(struct chore *chore); /* back on the sender's thread */
    void (*undo)(struct chore *chore); /* it was abandoned; may block as well */

    bool is_undone_at_once; /* `undo` does not block, and may run at home; `run` may set it */
};

/*
 * `home` must stay until `done` has run, or the chore was abandoned and each message that was sent
 * to it by then has run.  Returns 0, or -errno: there is no thread to be had, and the object is the
 * caller's still.
 */
int chore_send(struct chore *chore, struct mailbox *home);

/* `done` will not run.  Once.  Thread: the sender's. */
void chore_abandon(struct chore *chore);

/* How many were abandoned, and have not undone themselves yet.  Thread: any. */
unsigned chore_abandoned(void);
