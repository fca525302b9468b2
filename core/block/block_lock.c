/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/block_lock.h"

#include <assert.h>

#include "core/block/context.h"

/* ---- lists ---- */

static void empty_list(struct block_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void put_on_list(struct block_list *list, struct block_lock *lock)
{
    lock->next = NULL;
    lock->link = list->last;
    *list->last = lock;
    list->last = &lock->next;
}

static void take_off_list(struct block_list *list, struct block_lock *lock)
{
    *lock->link = lock->next;
    if (lock->next) {
        lock->next->link = lock->link;
    } else {
        list->last = lock->link;
    }
}

static bool do_overlap(const struct block_lock *a, const struct block_lock *b)
{
    return a->first < b->end && b->first < a->end;
}

static unsigned count_overlapping(const struct block_list *list, const struct block_lock *lock)
{
    unsigned count = 0;

    for (const struct block_lock *other = list->first; other; other = other->next) {
        count += do_overlap(other, lock);
    }
    return count;
}

/* ---- life ---- */

void block_locks_init(struct block_locks *locks)
{
    pthread_mutex_init(&locks->mutex, NULL); /* cannot fail */
    atomic_init(&locks->alone_count, 0);
    empty_list(&locks->alone);
    empty_list(&locks->waiting);
    locks->lanes = NULL;
}

void block_locks_fini(struct block_locks *locks)
{
    assert(!locks->alone.first && !locks->waiting.first && !locks->lanes);
    pthread_mutex_destroy(&locks->mutex);
}

void block_lane_open(struct block_lane *lane, struct block_locks *locks, struct context *context)
{
    pthread_mutex_init(&lane->mutex, NULL); /* cannot fail */
    empty_list(&lane->sharing);
    lane->locks = locks;
    lane->context = context;
    pthread_mutex_lock(&locks->mutex);
    lane->next = locks->lanes;
    locks->lanes = lane;
    pthread_mutex_unlock(&locks->mutex);
}

void block_lane_close(struct block_lane *lane)
{
    struct block_lane **at = &lane->locks->lanes;

    assert(!lane->sharing.first);
    pthread_mutex_lock(&lane->locks->mutex);
    while (*at != lane) {
        at = &(*at)->next;
    }
    *at = lane->next;
    pthread_mutex_unlock(&lane->locks->mutex);
    pthread_mutex_destroy(&lane->mutex);
}

/* ---- take ---- */

/* Returns false where somebody is alone somewhere, or wants to be.  Any order will do: see above.
 */
static bool share_at_once(struct block_lane *lane, struct block_lock *lock)
{
    bool is_had;

    pthread_mutex_lock(&lane->mutex);
    is_had = atomic_load_explicit(&lane->locks->alone_count, memory_order_acquire) == 0;
    if (is_had) {
        put_on_list(&lane->sharing, lock);
    }
    pthread_mutex_unlock(&lane->mutex);
    return is_had;
}

/* Under the mutex of all. */
static void begin_to_share(struct block_lock *lock)
{
    pthread_mutex_lock(&lock->lane->mutex);
    put_on_list(&lock->lane->sharing, lock);
    pthread_mutex_unlock(&lock->lane->mutex);
}

/* Those who wait to be alone keep it out as well, or they would wait for ever. */
static void share_or_wait(struct block_locks *locks, struct block_lock *lock)
{
    lock->ahead = count_overlapping(&locks->alone, lock);
    if (lock->ahead == 0) {
        begin_to_share(lock);
    } else {
        put_on_list(&locks->waiting, lock);
    }
}

static unsigned count_sharing(struct block_lane *lane, const struct block_lock *lock)
{
    unsigned count = 0;

    pthread_mutex_lock(&lane->mutex);
    for (struct block_lock *other = lane->sharing.first; other; other = other->next) {
        if (do_overlap(other, lock)) {
            other->is_counted = true;
            count++;
        }
    }
    pthread_mutex_unlock(&lane->mutex);
    return count;
}

static void be_alone_or_wait(struct block_locks *locks, struct block_lock *lock)
{
    atomic_fetch_add_explicit(&locks->alone_count, 1, memory_order_relaxed);
    lock->ahead = count_overlapping(&locks->alone, lock) + count_overlapping(&locks->waiting, lock);
    for (struct block_lane *lane = locks->lanes; lane; lane = lane->next) {
        lock->ahead += count_sharing(lane, lock);
    }
    put_on_list(&locks->alone, lock);
}

bool block_lock_take(struct block_lane *lane, struct block_lock *lock)
{
    struct block_locks *locks = lane->locks;
    bool is_had;

    assert(lock->first < lock->end && context_is_current(lane->context));
    lock->lane = lane;
    lock->ahead = 0;
    lock->is_counted = false;
    if (!lock->is_alone && share_at_once(lane, lock)) {
        return true;
    }
    pthread_mutex_lock(&locks->mutex);
    if (lock->is_alone) {
        be_alone_or_wait(locks, lock);
    } else {
        share_or_wait(locks, lock);
    }
    is_had = lock->ahead == 0;
    pthread_mutex_unlock(&locks->mutex);
    return is_had;
}

/* ---- end ---- */

/* Those whom nobody keeps out any more, linked by their messages. */
struct let_in {
    struct message *first;
    struct message **last;
};

static void let_one_in(struct let_in *let_in, struct block_lock *lock)
{
    lock->message.next = NULL;
    *let_in->last = &lock->message;
    let_in->last = &lock->message.next;
}

/* All whom it kept out have come after it. */
static void let_alone_in(struct block_locks *locks, const struct block_lock *lock,
                         struct let_in *let_in)
{
    for (struct block_lock *other = locks->alone.first; other; other = other->next) {
        if (do_overlap(other, lock) && --other->ahead == 0) {
            let_one_in(let_in, other);
        }
    }
}

/* What has waited has been counted by those who came after it. */
static void let_sharing_in(struct block_locks *locks, const struct block_lock *lock,
                           struct let_in *let_in)
{
    struct block_lock *next;

    for (struct block_lock *other = locks->waiting.first; other; other = next) {
        next = other->next;
        if (do_overlap(other, lock) && --other->ahead == 0) {
            take_off_list(&locks->waiting, other);
            other->is_counted = true;
            begin_to_share(other);
            let_one_in(let_in, other);
        }
    }
}

static void end_alone(struct block_locks *locks, struct block_lock *lock, struct let_in *let_in)
{
    assert(lock->ahead == 0);
    pthread_mutex_lock(&locks->mutex);
    take_off_list(&locks->alone, lock);
    atomic_fetch_sub_explicit(&locks->alone_count, 1, memory_order_release);
    let_alone_in(locks, lock, let_in);
    let_sharing_in(locks, lock, let_in);
    pthread_mutex_unlock(&locks->mutex);
}

/* Returns false where it has been counted: that begins under both mutexes, and never ends. */
static bool end_uncounted(struct block_lock *lock)
{
    struct block_lane *lane = lock->lane;
    bool is_over;

    pthread_mutex_lock(&lane->mutex);
    is_over = !lock->is_counted;
    if (is_over) {
        take_off_list(&lane->sharing, lock);
    }
    pthread_mutex_unlock(&lane->mutex);
    return is_over;
}

static void end_counted(struct block_locks *locks, struct block_lock *lock, struct let_in *let_in)
{
    pthread_mutex_lock(&locks->mutex);
    pthread_mutex_lock(&lock->lane->mutex);
    take_off_list(&lock->lane->sharing, lock);
    pthread_mutex_unlock(&lock->lane->mutex);
    let_alone_in(locks, lock, let_in);
    pthread_mutex_unlock(&locks->mutex);
}

static void run_had_lock(struct message *message)
{
    struct block_lock *lock = containerof(message, struct block_lock, message);

    context_wake(lock->lane->context);
    lock->had(lock);
}

/* One of the same lane goes on at once, as its lane is amid a turn, or was woken. */
static void tell_had(const struct block_lane *lane, struct block_lock *lock)
{
    if (lock->lane->context == lane->context) {
        lock->had(lock);
    } else {
        lock->message.run = run_had_lock;
        context_send(lock->lane->context, &lock->message);
    }
}

void block_lock_end(struct block_lock *lock)
{
    struct block_lane *lane = lock->lane;
    struct let_in let_in = {.last = &let_in.first};
    struct message *message;

    assert(context_is_current(lane->context));
    if (lock->is_alone) {
        end_alone(lane->locks, lock, &let_in);
    } else if (!end_uncounted(lock)) {
        end_counted(lane->locks, lock, &let_in);
    }
    message = let_in.first;
    while (message) {
        struct message *next = message->next; /* it is its asker's from here on */

        tell_had(lane, containerof(message, struct block_lock, message));
        message = next;
    }
}
