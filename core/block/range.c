/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/range.h"

#include <assert.h>

#include "core/block/context.h"

void ranges_init(struct ranges *ranges)
{
    pthread_mutex_init(&ranges->mutex, NULL); /* cannot fail */
    ranges->first = NULL;
}

void ranges_fini(struct ranges *ranges)
{
    assert(!ranges->first);
    pthread_mutex_destroy(&ranges->mutex);
}

static bool keeps_out(const struct range *a, const struct range *b)
{
    return !(a->is_shared && b->is_shared) && a->offset < b->offset + b->length &&
           b->offset < a->offset + a->length;
}

/* Those who wait keep out others as well, or one that wants it to itself would wait for ever. */
bool range_take(struct ranges *ranges, struct range *range)
{
    struct range **at = &ranges->first;
    bool is_had;

    assert(range->length > 0 && context_is_current(range->path->context));
    range->ahead = 0;
    range->next = NULL;
    pthread_mutex_lock(&ranges->mutex);
    for (; *at; at = &(*at)->next) {
        assert(*at != range && (!range->io || (*at)->io != range->io));
        range->ahead += keeps_out(*at, range);
    }
    *at = range;
    is_had = range->ahead == 0;
    pthread_mutex_unlock(&ranges->mutex);
    return is_had;
}

static void take_out(struct ranges *ranges, const struct range *range)
{
    struct range **at = &ranges->first;

    while (*at != range) {
        at = &(*at)->next;
    }
    *at = range->next;
}

/* All whom it kept out have come after it; returns those whom nobody keeps out any more. */
static struct message *admit_waiters(const struct ranges *ranges, const struct range *range)
{
    struct message *first = NULL;
    struct message **last = &first;

    for (struct range *other = ranges->first; other; other = other->next) {
        if (keeps_out(other, range) && --other->ahead == 0) {
            *last = &other->message;
            last = &other->message.next;
            *last = NULL;
        }
    }
    return first;
}

static void send_home(struct message *message)
{
    const struct range *range = containerof(message, struct range, message);

    context_send(range->path->context, message);
}

void range_end(struct ranges *ranges, struct range *range)
{
    struct message *message;

    assert(context_is_current(range->path->context));
    pthread_mutex_lock(&ranges->mutex);
    assert(range->ahead == 0);
    take_out(ranges, range);
    message = admit_waiters(ranges, range);
    pthread_mutex_unlock(&ranges->mutex);
    while (message) {
        struct message *next = message->next; /* it is its asker's from the send on */

        send_home(message);
        message = next;
    }
}
