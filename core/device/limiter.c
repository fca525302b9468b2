/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/limiter.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/device/queue.h"
#include "core/device/rate_buckets.h"
#include "core/virtio/blk.h"

struct limiter {
    pthread_mutex_t lock;
    char group[LIMIT_GROUP_BYTES]; /* "": it is one disk's own */
    struct limiter *next;          /* of the groups, under their lock */
    unsigned count;                /* of members, under the groups' lock */

    /* Under the lock. */
    struct limit_member *members;
    struct rate_buckets buckets;
    uint64_t most_ns; /* that a member had */
};

static pthread_mutex_t groups_lock = PTHREAD_MUTEX_INITIALIZER;
static struct limiter *groups;

/* ---- turns ---- */

/* It could go by now, and is not late. */
static bool could_go(const struct limit_share *share, uint64_t now)
{
    return share->due_ns <= now && now - share->due_ns <= LIMIT_LATE_NS;
}

static bool is_ahead_of(const struct limit_share *share, const struct limit_share *other,
                        uint64_t lead_ns)
{
    return share->had_ns > other->had_ns + lead_ns;
}

static bool ring_could_go(const struct limit_member *member, unsigned direction, uint64_t now)
{
    uint64_t rings = member->waiting[direction];

    for (; rings; rings &= rings - 1) {
        if (could_go(&member->ring[__builtin_ctzll(rings)][direction], now)) {
            return true;
        }
    }
    return false;
}

/* Do they want the same? */
static bool is_rival(const struct limiter *limiter, unsigned direction, unsigned other)
{
    return direction == other || limiter->buckets.average[RATE_IOPS].rate > 0 ||
           limiter->buckets.average[RATE_BPS].rate > 0;
}

/*
 * Of another disk, or the other direction of this one.  It comes before the rings, also for the
 * same disk: else one would let the second go first, that the third, and that the first again.
 */
static bool is_another_members_turn(const struct limit_member *member, unsigned direction,
                                    uint64_t lead_ns, uint64_t now)
{
    const struct limiter *limiter = member->limiter;

    for (const struct limit_member *other = limiter->members; other; other = other->next) {
        for (unsigned i = 0; i < RATE_DIRECTIONS; i++) {
            if (other->waiting[i] && is_rival(limiter, direction, i) &&
                is_ahead_of(&member->share[direction], &other->share[i], lead_ns) &&
                ring_could_go(other, i, now)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_another_rings_turn(const struct limit_member *member, unsigned ring,
                                  unsigned direction, uint64_t lead_ns, uint64_t now)
{
    const struct limit_share *share = &member->ring[ring][direction];
    uint64_t rings = member->waiting[direction] & ~BIT(ring);

    for (; rings; rings &= rings - 1) {
        const struct limit_share *other = &member->ring[__builtin_ctzll(rings)][direction];

        if (is_ahead_of(share, other, lead_ns) && could_go(other, now)) {
            return true;
        }
    }
    return false;
}

/* What somebody left to others while it wanted nothing is not saved up. */
static void catch_up(struct limit_share *share, uint64_t most_ns)
{
    if (share->had_ns + LIMIT_BEHIND_NS < most_ns) {
        share->had_ns = most_ns - LIMIT_BEHIND_NS;
    }
}

/* Those who wait keep what they are behind. */
static void come_for_turn(struct limit_member *member, unsigned ring, unsigned direction,
                          uint64_t now)
{
    const struct limit_share *share = &member->ring[ring][direction];

    if (!(member->waiting[direction] & BIT(ring)) || share->due_ns + LIMIT_LATE_NS < now) {
        catch_up(&member->ring[ring][direction], member->most_ns);
    }
    if (!member->waiting[direction]) {
        catch_up(&member->share[direction], member->limiter->most_ns);
    }
}

/* From when on may the next go?  Who has to wait is noted, until it has had one. */
static uint64_t ask_for_turn(struct limit_member *member, unsigned ring,
                             enum rate_direction direction, uint64_t now)
{
    struct limit_share *share = &member->ring[ring][direction];
    struct rate_opening opening;
    uint64_t lead_ns;

    rate_buckets_look(&member->limiter->buckets, direction, now, &opening);
    lead_ns = LIMIT_AHEAD_NS + opening.spare_ns;
    come_for_turn(member, ring, direction, now);
    if (opening.is_limited && opening.ns <= now &&
        (is_another_members_turn(member, direction, lead_ns, now) ||
         is_another_rings_turn(member, ring, direction, lead_ns, now))) {
        member->waiting[direction] |= BIT(ring);
        share->due_ns = now;
        return now + LIMIT_AGAIN_NS;
    }
    if (opening.ns > now) {
        member->waiting[direction] |= BIT(ring);
        share->due_ns = opening.ns;
        return opening.ns;
    }
    return now;
}

static void add_to_share(struct limit_share *share, uint64_t lasts_ns, uint64_t *most_ns)
{
    share->had_ns += lasts_ns;
    *most_ns = share->had_ns > *most_ns ? share->had_ns : *most_ns;
}

static void count_request(struct limit_member *member, unsigned ring, enum rate_direction direction,
                          uint64_t bytes, uint64_t now)
{
    uint64_t lasts_ns = rate_buckets_put(&member->limiter->buckets, direction, bytes, now);

    member->waiting[direction] &= ~BIT(ring);
    add_to_share(&member->ring[ring][direction], lasts_ns, &member->most_ns);
    add_to_share(&member->share[direction], lasts_ns, &member->limiter->most_ns);
}

/* ---- the throttle ---- */

static bool is_counted(const struct request *request)
{
    return request->io.op != IO_FLUSH;
}

/* Discards and zeroes move none.  Source: QEMU counts none of them at all. */
static uint64_t bytes_of(const struct request *request)
{
    return request->io.op == IO_READ || request->io.op == IO_WRITE ? request->io.length : 0;
}

static struct limit_member *lock_member(struct throttle *throttle)
{
    struct limit_member *member = containerof(throttle, struct limit_member, throttle);

    (void)pthread_mutex_lock(&member->limiter->lock); /* cannot fail */
    return member;
}

static void unlock_member(struct limit_member *member)
{
    (void)pthread_mutex_unlock(&member->limiter->lock);
}

/* With one limit for all, all is asked for as if it were read. */
static enum rate_direction direction_in(const struct limiter *limiter,
                                        const struct request *request)
{
    return !limiter->buckets.is_by_direction || request->io.op == IO_READ ? RATE_READS
                                                                          : RATE_WRITES;
}

/* Where directions have limits of their own, it is asked when it is known what goes. */
static uint64_t limit_opens_ns(struct throttle *throttle, const struct queue *q, uint64_t now)
{
    struct limit_member *member = lock_member(throttle);
    uint64_t opens_ns = now;

    if (!member->limiter->buckets.is_by_direction) {
        opens_ns = ask_for_turn(member, q->index, RATE_READS, now);
    }
    unlock_member(member);
    return opens_ns;
}

/* Also of what a ring was let take: on another thread somebody may have been let at the same time.
 */
static uint64_t limit_admits_ns(struct throttle *throttle, const struct request *request,
                                uint64_t now)
{
    struct limit_member *member;
    enum rate_direction direction;
    uint64_t opens_ns;

    if (!is_counted(request)) {
        return now;
    }
    member = lock_member(throttle);
    direction = direction_in(member->limiter, request);
    opens_ns = ask_for_turn(member, request->queue->index, direction, now);
    if (opens_ns <= now) {
        count_request(member, request->queue->index, direction, bytes_of(request), now);
    }
    unlock_member(member);
    return opens_ns;
}

/* Whether there is room or not: what comes next waits for it. */
static void limit_took(struct throttle *throttle, const struct request *request, uint64_t now)
{
    struct limit_member *member;

    if (is_counted(request)) {
        member = lock_member(throttle);
        count_request(member, request->queue->index, direction_in(member->limiter, request),
                      bytes_of(request), now);
        unlock_member(member);
    }
}

static void limit_left(struct throttle *throttle, const struct queue *q)
{
    struct limit_member *member = lock_member(throttle);

    for (unsigned i = 0; i < RATE_DIRECTIONS; i++) {
        member->waiting[i] &= ~BIT(q->index);
    }
    unlock_member(member);
}

static const struct throttle_ops limiter_ops = {.opens_ns = limit_opens_ns,
                                                .admits_ns = limit_admits_ns,
                                                .took = limit_took,
                                                .left = limit_left};

/* ---- members ---- */

static struct limiter *find_group(const char *group)
{
    struct limiter *limiter = group[0] ? groups : NULL;

    while (limiter && strcmp(limiter->group, group) != 0) {
        limiter = limiter->next;
    }
    return limiter;
}

static struct limiter *new_limiter(const char *group, const struct rates *rates)
{
    struct limiter *limiter = calloc(1, sizeof(*limiter));

    if (!limiter) {
        return NULL;
    }
    (void)pthread_mutex_init(&limiter->lock, NULL); /* cannot fail */
    (void)snprintf(limiter->group, sizeof(limiter->group), "%s", group);
    rate_buckets_set(&limiter->buckets, rates, now_ns());
    limiter->next = groups;
    groups = limiter;
    return limiter;
}

static void free_limiter(struct limiter *limiter)
{
    struct limiter **at = &groups;

    while (*at != limiter) {
        at = &(*at)->next;
    }
    *at = limiter->next;
    (void)pthread_mutex_destroy(&limiter->lock);
    free(limiter);
}

static void add_member(struct limiter *limiter, struct limit_member *member)
{
    limiter->count++;
    (void)pthread_mutex_lock(&limiter->lock);
    member->limiter = limiter;
    member->next = limiter->members;
    limiter->members = member;
    (void)pthread_mutex_unlock(&limiter->lock);
}

int limit_join(struct limit_member *member, const char *group, const struct rates *rates,
               void (*changed)(struct limit_member *member), void *arg)
{
    struct limiter *limiter;

    *member = (struct limit_member){.throttle.ops = &limiter_ops, .changed = changed, .arg = arg};
    (void)pthread_mutex_lock(&groups_lock);
    limiter = find_group(group);
    if (!limiter) {
        limiter = new_limiter(group, rates);
    }
    if (limiter) {
        add_member(limiter, member);
    }
    (void)pthread_mutex_unlock(&groups_lock);
    return limiter ? 0 : -ENOMEM;
}

static void drop_member(struct limiter *limiter, struct limit_member *member)
{
    struct limit_member **at = &limiter->members;

    (void)pthread_mutex_lock(&limiter->lock);
    while (*at != member) {
        at = &(*at)->next;
    }
    *at = member->next;
    member->limiter = NULL;
    (void)pthread_mutex_unlock(&limiter->lock);
    limiter->count--;
}

void limit_leave(struct limit_member *member)
{
    struct limiter *limiter = member->limiter;

    if (!limiter) {
        return;
    }
    (void)pthread_mutex_lock(&groups_lock);
    drop_member(limiter, member);
    if (limiter->count == 0) {
        free_limiter(limiter);
    }
    (void)pthread_mutex_unlock(&groups_lock);
}

void limit_rates(const struct limit_member *member, struct rates *rates)
{
    struct limiter *limiter = member->limiter;

    if (!limiter) {
        *rates = (struct rates){0};
        return;
    }
    (void)pthread_mutex_lock(&limiter->lock);
    *rates = limiter->buckets.rates;
    (void)pthread_mutex_unlock(&limiter->lock);
}

bool limit_group_rates(const char *group, struct rates *rates)
{
    struct limiter *limiter;

    (void)pthread_mutex_lock(&groups_lock);
    limiter = find_group(group);
    if (limiter) {
        (void)pthread_mutex_lock(&limiter->lock);
        *rates = limiter->buckets.rates;
        (void)pthread_mutex_unlock(&limiter->lock);
    }
    (void)pthread_mutex_unlock(&groups_lock);
    return limiter != NULL;
}

/* All ask anew. */
static void tell_members(struct limiter *limiter, const struct limit_member *setter)
{
    for (struct limit_member *member = limiter->members; member; member = member->next) {
        memset(member->waiting, 0, sizeof(member->waiting));
        if (member != setter) {
            member->changed(member);
        }
    }
}

bool limit_set(struct limit_member *member, const struct rates *from, const struct rates *to,
               uint64_t now)
{
    struct limiter *limiter = member->limiter;
    bool holds;

    (void)pthread_mutex_lock(&limiter->lock);
    holds = rates_same(&limiter->buckets.rates, from);
    if (holds && !rates_same(from, to)) {
        rate_buckets_set(&limiter->buckets, to, now);
        tell_members(limiter, member);
    }
    (void)pthread_mutex_unlock(&limiter->lock);
    return holds;
}
