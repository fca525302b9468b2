/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/mailbox.h"

#include <assert.h>

/* What was pushed newest first, in the order in which it was sent. */
static struct message *oldest_first(struct message *newest)
{
    struct message *list = NULL;

    while (newest) {
        struct message *next = newest->next;

        newest->next = list;
        list = newest;
        newest = next;
    }
    return list;
}

void mailbox_run(struct mailbox *mailbox)
{
    struct message *message =
        oldest_first(atomic_exchange_explicit(&mailbox->head, NULL, memory_order_acquire));

    while (message) {
        struct message *next = message->next;

        message->run(message);
        message = next;
    }
}

/* One wake-up may stand for many messages: libuv merges them. */
static void on_mail(uv_async_t *async)
{
    mailbox_run(containerof(async, struct mailbox, async));
}

int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop)
{
    atomic_init(&mailbox->head, NULL);
    return uv_async_init(loop, &mailbox->async, on_mail);
}

void mailbox_close(struct mailbox *mailbox)
{
    assert(!atomic_load_explicit(&mailbox->head, memory_order_relaxed));
    uv_close((uv_handle_t *)&mailbox->async, NULL);
}

void mailbox_discard(struct mailbox *mailbox)
{
    (void)atomic_exchange_explicit(&mailbox->head, NULL, memory_order_acquire);
}

void mailbox_send(struct mailbox *mailbox, struct message *message)
{
    struct message *head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);

    do {
        message->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->head, &head, message,
                                                    memory_order_release, memory_order_relaxed));
    (void)uv_async_send(&mailbox->async); /* fails for handles that are no uv_async_t only */
}
