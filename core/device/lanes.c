/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lanes.h"

#include <assert.h>
#include <errno.h>

#include "core/device/lane_delay.h"
#include "core/device/lane_gate.h"
#include "core/device/lane_life.h"
#include "core/device/lane_mark.h"
#include "core/device/lane_thread.h"
#include "core/device/lane_turn.h"
#include "core/device/lane_way.h"

/* ---- park ---- */

void lanes_park(struct lanes *lanes)
{
    if (lanes->view->parked++ > 0) {
        return;
    }
    for (unsigned i = 1; i < lanes->count; i++) {
        lane_thread_ask_park(lanes->lane[i]);
    }
    for (unsigned i = 1; i < lanes->count; i++) {
        lane_thread_await_park(lanes->lane[i]);
    }
}

void lanes_unpark(struct lanes *lanes)
{
    assert(lanes->view->parked > 0);
    if (--lanes->view->parked > 0) {
        return;
    }
    for (unsigned i = 1; i < lanes->count; i++) {
        lane_thread_unpark(lanes->lane[i]);
    }
}

/* ---- what lanes tell ---- */

/* Does the lane serve what is drained? */
static bool has_part(const struct lane *lane, const struct drain *drain)
{
    return drain->ring == DRAIN_DEVICE || lane->view->queue[drain->ring].lane == lane;
}

/*
 * Nothing is under way and nothing is left to be shown: a lane that was parked before its check
 * phase, or whose turn took too long, may have finished requests that it has not published yet.
 */
static bool is_lane_drained(const struct lane *lane, const struct drain *drain)
{
    const struct queue *q;

    if (!has_part(lane, drain)) {
        return true;
    }
    if (drain->frees_memory && lane->view->is_fenced) {
        return false;
    }
    if (drain->ring == DRAIN_DEVICE) {
        return lane->flight.guest == 0 && lane->unpublished == 0 && lane->delayed == 0 &&
               (lane->index < drain->own_below || lane->flight.own == 0);
    }
    q = &lane->view->queue[drain->ring];
    return q->ring.inflight == 0 && !(lane->unpublished & BIT(q->index));
}

static bool is_drained(const struct lanes *lanes, const struct drain *drain)
{
    for (unsigned i = 0; i < lanes->count; i++) {
        if (!is_lane_drained(lanes->lane[i], drain)) {
            return false;
        }
    }
    return true;
}

/*
 * After `done` the memory of the guest may be another, or none: no lane may lead to it.  The turn
 * finds out whether this thread ran into memory that was lost.
 */
static void end_drain(struct lanes *lanes, struct drain *drain)
{
    for (unsigned i = 0; i < lanes->count; i++) {
        if (has_part(lanes->lane[i], drain)) {
            lane_rest(lanes->lane[i], drain->ring == DRAIN_DEVICE ? ~0ull : BIT(drain->ring));
        }
    }
    lane_wake(&lanes->first);
    drain->done(drain);
}

/*
 * For so long a drain waits for discards to be done.  A front-end waits for it, and a guest whose
 * rings stand still, and pieces may take seconds each.
 */
#define PATIENCE_WITH_HINTS_NS NS_PER_S

/* The list has changed.  Who is the first to wait sets the time. */
static void set_hurry(struct lanes *lanes)
{
    _Atomic uint64_t *first = &lanes->first.context.hurry_ns;
    uint64_t hurry_ns = atomic_load_explicit(first, memory_order_relaxed);

    if (!!hurry_ns == !!lanes->drains) {
        return;
    }
    hurry_ns = lanes->drains ? now_ns() + PATIENCE_WITH_HINTS_NS : 0;
    for (unsigned i = 0; i < lanes->count; i++) {
        atomic_store_explicit(&lanes->lane[i]->context.hurry_ns, hurry_ns, memory_order_relaxed);
    }
}

/* Each `done` may change the list: start again after it. */
static void run_drains(struct lanes *lanes)
{
    struct drain **at = &lanes->drains;

    while (*at) {
        struct drain *drain = *at;

        if (is_drained(lanes, drain)) {
            *at = drain->next;
            end_drain(lanes, drain);
            at = &lanes->drains;
        } else {
            at = &drain->next;
        }
    }
    set_hurry(lanes);
}

/* What one lane has found is true for all: the memory is the same. */
static void spread_loss(struct lanes *lanes)
{
    bool has_loss = false;

    for (unsigned i = 0; i < lanes->count; i++) {
        has_loss |= lanes->lane[i]->has_found_loss;
        lanes->lane[i]->has_found_loss = false;
    }
    for (unsigned i = 0; has_loss && i < lanes->count; i++) {
        lane_lose_memory(lanes->lane[i]);
    }
}

/* What one lane holds for a person has all of them wait. */
static void spread_failures(struct lanes *lanes)
{
    bool has_any = false;

    for (unsigned i = 0; i < lanes->count; i++) {
        has_any |= lanes->lane[i]->has_failed;
        lanes->lane[i]->has_failed = false;
    }
    if (has_any) {
        lanes->failed(lanes);
    }
}

static void look_at_lanes(struct lanes *lanes)
{
    lanes_park(lanes);
    spread_loss(lanes);
    spread_failures(lanes);
    run_drains(lanes);
    lanes_unpark(lanes);
}

/*
 * The lane may tell again from here on: the release lets it use the message anew, its partner
 * is the acquire in tell.  Lanes are parked after this, so a lane that did not tell because
 * the flag was still up had ended its turn by then, and what it would have told is seen.
 */
static void run_tell(struct message *message)
{
    struct lanes *lanes = containerof(message, struct lanes, tell);

    atomic_store_explicit(&lanes->is_telling, false, memory_order_release);
    look_at_lanes(lanes);
}

/* One message serves all lanes: it says no more than that there is something to look at. */
static void tell_disk(struct lane *lane)
{
    struct lanes *lanes = lane->owner;

    if (!atomic_exchange_explicit(&lanes->is_telling, true, memory_order_acq_rel)) {
        mailbox_send(&lanes->first.mailbox, &lanes->tell);
    }
}

/*
 * May the lane's turn have ended a drain?  Only lanes that have a part in it say so: the last
 * of them to be done is the one that counts, and it finds that all others are.
 */
static bool may_end_drain(const struct lane *lane)
{
    const struct lanes *lanes = lane->owner;

    for (const struct drain *drain = lanes->drains; drain; drain = drain->next) {
        if (has_part(lane, drain) && is_lane_drained(lane, drain)) {
            return true;
        }
    }
    return false;
}

static void on_turned(struct lane *lane)
{
    if (!lane->has_found_loss && !lane->has_failed && !may_end_drain(lane)) {
        return;
    }
    if (lane->index == 0) {
        look_at_lanes(lane->owner);
    } else {
        tell_disk(lane);
    }
}

/* ---- drains ---- */

/* The turn that is asked for here finds out whether there is anything to wait for. */
void lanes_drain(struct lanes *lanes, int ring, struct drain *drain)
{
    assert(lanes->view->parked > 0);
    drain->ring = ring;
    drain->next = lanes->drains;
    lanes->drains = drain;
    set_hurry(lanes);
    lane_wake(ring == DRAIN_DEVICE ? &lanes->first : lanes->view->queue[ring].lane);
}

void lanes_drain_cancel(struct lanes *lanes, struct drain *drain)
{
    struct drain **at = &lanes->drains;

    assert(lanes->view->parked > 0);
    while (*at && *at != drain) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = drain->next;
        set_hurry(lanes);
    }
}

/* ---- the image ---- */

/* In this order, the first before the others, and back: see node_forward.h. */
static void close_ways(struct lanes *lanes, unsigned count)
{
    while (count-- > 0) {
        lane_way_close(lanes->lane[count]);
    }
}

int lanes_attach(struct lanes *lanes, struct image *image, struct err *err)
{
    unsigned count = 0;
    int ret = 0;

    assert(lanes->view->parked > 0);
    while (ret == 0 && count < lanes->count) {
        ret = lane_way_open(lanes->lane[count], image, err);
        count += ret == 0;
    }
    if (ret < 0) {
        close_ways(lanes, count);
        return ret;
    }
    lanes->image = image;
    return 0;
}

struct image *lanes_detach(struct lanes *lanes)
{
    struct image *image = lanes->image;

    assert(lanes->view->parked > 0);
    close_ways(lanes, lanes->count);
    lanes->image = NULL;
    return image;
}

int lanes_reattach(struct lanes *lanes, struct err *err)
{
    struct lane_way before[LANES_MAX];
    unsigned count = 0;
    int ret = 0;

    assert(lanes->view->parked > 0);
    while (ret == 0 && count < lanes->count) {
        ret = lane_way_change(lanes->lane[count], lanes->image, &before[count], err);
        count += ret == 0;
    }
    while (count-- > 0) {
        if (ret < 0) {
            lane_way_go_back(lanes->lane[count], &before[count]);
        } else {
            lane_way_keep(lanes->lane[count], &before[count]);
        }
    }
    return ret;
}

/* ---- how many there are ---- */

int lanes_init(struct lanes *lanes, struct lane_view *view, uv_loop_t *loop)
{
    int ret = lane_init(&lanes->first, view, 0, loop, on_turned, lanes);

    if (ret < 0) {
        return ret;
    }
    lanes->view = view;
    lanes->lane[0] = &lanes->first;
    lanes->count = 1;
    lanes->tell.run = run_tell;
    atomic_init(&lanes->is_telling, false);
    return 0;
}

static int start_lane(struct lanes *lanes, struct err *err)
{
    unsigned index = lanes->count;
    struct lane *lane;
    int ret = lane_thread_start(&lane, lanes->view, index, on_turned, lanes, err);

    if (ret < 0) {
        return ret;
    }
    if (lanes->image) {
        ret = lane_way_open(lane, lanes->image, err);
        if (ret < 0) {
            lane_thread_stop(lane);
            return ret;
        }
    }
    lane->spin = lanes->first.spin;
    lane->context.huge_use = lanes->first.context.huge_use;
    batch_init(&lane->batch, lanes->first.batch.fixed, now_ns());
    lanes->lane[index] = lane;
    lanes->count++;
    return 0;
}

/* Its counters stay: what a disk has done does not shrink. */
static void stop_lane(struct lanes *lanes)
{
    struct lane *lane = lanes->lane[--lanes->count];

    stats_add(&lanes->past, &lane->stats);
    lane_way_close(lane);
    lane_thread_stop(lane);
}

static void stop_lanes(struct lanes *lanes, unsigned count)
{
    while (lanes->count > count) {
        stop_lane(lanes);
    }
}

/* All rings get their new kick watches, or none does. */
static int open_kicks(struct lanes *lanes, const struct lane_map *map, struct watch **kicks,
                      struct err *err)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < lanes->view->queues; i++) {
        ret = queue_open_moved_kick(&lanes->view->queue[i], lanes->lane[map->lane[i]], &kicks[i],
                                    err);
    }
    for (unsigned i = 0; ret < 0 && i < lanes->view->queues; i++) {
        watch_close(kicks[i]);
    }
    return ret;
}

static int move_rings(struct lanes *lanes, const struct lane_map *map, struct err *err)
{
    struct watch *kicks[BLK_MAX_QUEUES] = {NULL};
    int ret = open_kicks(lanes, map, kicks, err);

    for (unsigned i = 0; ret == 0 && i < lanes->view->queues; i++) {
        queue_move(&lanes->view->queue[i], lanes->lane[map->lane[i]], kicks[i]);
    }
    return ret;
}

/* The most that were in flight with the old lanes is not the sum of what the new ones see. */
static void keep_maximum(struct lanes *lanes)
{
    struct stats total;

    lanes_stats(lanes, &total);
    for (unsigned i = 0; i < lanes->count; i++) {
        lanes->lane[i]->stats.inflight_max = 0;
    }
    lanes->past.inflight_max = total.inflight_max;
}

/* New lanes come first: should one not be had, nothing has changed yet. */
static int change_lanes(struct lanes *lanes, unsigned count, const struct lane_map *map,
                        struct err *err)
{
    unsigned before = lanes->count;
    int ret = 0;

    while (ret == 0 && lanes->count < count) {
        ret = start_lane(lanes, err);
    }
    if (ret == 0) {
        ret = move_rings(lanes, map, err);
    }
    if (ret == 0) {
        keep_maximum(lanes);
    }
    stop_lanes(lanes, ret < 0 ? before : count);
    return ret;
}

int lanes_set(struct lanes *lanes, unsigned count, const struct lane_map *map, struct err *err)
{
    struct lane_map in_turn;

    assert(lanes->view->parked > 0);
    if (count < 1 || count > min_of(lanes->view->queues, (unsigned)LANES_MAX)) {
        return err_say(err, -EINVAL, "there are %u queues", lanes->view->queues);
    }
    in_turn = lane_map_in_turn(count);
    return change_lanes(lanes, count, map ? map : &in_turn, err);
}

bool lanes_are(const struct lanes *lanes, unsigned count, const struct lane_map *map)
{
    bool are_same = lanes->count == count;

    for (unsigned i = 0; are_same && i < lanes->view->queues; i++) {
        are_same = lanes->view->queue[i].lane->index == map->lane[i];
    }
    return are_same;
}

/* Rings go to the one that stays, as people may ask for them until the end. */
void lanes_close(struct lanes *lanes)
{
    const struct lane_map all_first = lane_map_in_turn(1);
    int ret = move_rings(lanes, &all_first, NULL);

    assert(lanes->view->parked > 0);
    assert(ret == 0); /* they were reset, so no kick is to be watched on another loop */
    (void)ret;
    stop_lanes(lanes, 1);
}

/* ---- all of them ---- */

void lanes_look(struct lanes *lanes)
{
    assert(lanes->view->parked > 0);
    for (unsigned i = 0; i < lanes->count; i++) {
        lanes->lane[i]->ready = ~0ull;
        lanes->lane[i]->untold = ~0ull;
        lane_wake(lanes->lane[i]);
    }
}

void lanes_lift(struct lanes *lanes, struct throttle *told)
{
    assert(lanes->view->parked > 0);
    for (unsigned i = 0; i < lanes->count; i++) {
        lane_gate_lift(lanes->lane[i], ~0ull, told);
    }
}

void lanes_stats(struct lanes *lanes, struct stats *stats)
{
    assert(lanes->view->parked > 0);
    *stats = lanes->past;
    stats->inflight_max = 0;
    for (unsigned i = 0; i < lanes->count; i++) {
        stats_add(stats, &lanes->lane[i]->stats);
        stats->inflight += lanes->lane[i]->flight.guest;
        stats->throttled += (unsigned)__builtin_popcountll(lanes->lane[i]->gated);
    }
    for (unsigned i = 0; i < lanes->view->queues; i++) {
        stats->held += ring_waiting(&lanes->view->queue[i].ring);
        stats->throttled += lane_delay_count(&lanes->view->queue[i]);
    }
    if (stats->inflight_max < lanes->past.inflight_max) {
        stats->inflight_max = lanes->past.inflight_max;
    }
}
