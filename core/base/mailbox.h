/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How threads with a loop are sent messages (message.h).
 *
 * mailbox.head is shared: mailbox_send pushes (release); on_mail takes all (acquire), and so
 * sees what the sender wrote before it sent.
 */

#include <stdatomic.h>
#include <uv.h>

#include "core/base/base.h"
#include "core/base/message.h"

/* Owned by the receiver, whose loop it wakes. */
struct mailbox {
    uv_async_t async;
    _Atomic(struct message *) head; /* newest first */
};

/* Thread: the loop's, or the one that has not yet handed the loop over. */
int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop);

/* Nobody may send any more.  Thread: the receiver's. */
void mailbox_close(struct mailbox *mailbox);

/*
 * Messages of one sender run in the order sent.  The mailbox must stay until this returns:
 * whoever frees it has to know that no sender is inside.
 * Thread: any.
 */
void mailbox_send(struct mailbox *mailbox, struct message *message);

/* Is there something to run?  A hint: the loop is woken for it in any case. */
static inline bool mailbox_has_mail(const struct mailbox *mailbox)
{
    return atomic_load_explicit(&mailbox->head, memory_order_relaxed) != NULL;
}

/* Run what has come, before the loop gets to it.  Not from a message.  Thread: the receiver's. */
void mailbox_run(struct mailbox *mailbox);

/* Forget what has come and not run: its senders are gone.  Thread: the receiver's. */
void mailbox_discard(struct mailbox *mailbox);
