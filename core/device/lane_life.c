/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_life.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "core/device/lane_gate.h"
#include "core/device/lane_mark.h"
#include "core/device/lane_tidy.h"
#include "core/device/lane_turn.h"
#include "core/virtio/ring.h"

/* The end of a turn of the loop. */
static void on_check(uv_check_t *check)
{
    lane_turn(check->data);
}

static void on_leaf(struct watch *watch)
{
    lane_reap(watch->arg);
}

/* By a message of another lane's.  What ends now has its time from the clock of a turn. */
static void context_wakes(struct context *context)
{
    struct lane *lane = containerof(context, struct lane, context);

    lane->stats.poll_hits += spin_confirm(&lane->spin) && lane->spin.max_ns > 0;
    lane->now_ns = now_ns();
    lane_wake(lane);
}

static void context_sends(struct context *context, struct message *message)
{
    mailbox_send(&containerof(context, struct lane, context)->mailbox, message);
}

static bool is_lane_current(const struct context *context)
{
    return containerof(context, struct lane, context)->tid == gettid();
}

static const struct context_ops context_ops = {
    .wake = context_wakes, .send = context_sends, .is_current = is_lane_current};

/* Of both no memory is used before it is needed. */
static int init_arrays(struct lane *lane)
{
    int ret = slots_init(&lane->arrays, sizeof(struct ring_array), LANE_ARRAYS);

    if (ret < 0) {
        return ret;
    }
    ret = slots_init(&lane->late_arrays, sizeof(struct ring_array), LANE_LATE_ARRAYS);
    if (ret < 0) {
        slots_fini(&lane->arrays);
    }
    return ret;
}

static void fini_arrays(struct lane *lane)
{
    slots_fini(&lane->late_arrays);
    slots_fini(&lane->arrays);
}

int lane_init(struct lane *lane, struct lane_view *view, unsigned index, uv_loop_t *loop,
              void (*turned)(struct lane *lane), void *owner)
{
    int ret;

    *lane =
        (struct lane){.view = view, .index = index, .loop = loop, .turned = turned, .owner = owner};
    lane->context.ops = &context_ops;
    batch_init(&lane->batch, 0, now_ns());
    lane->context.flight = &lane->flight;
    lane->context.freed = &lane->stats.freed;
    ret = init_arrays(lane);
    if (ret < 0) {
        return ret;
    }
    ret = mailbox_init(&lane->mailbox, loop);
    if (ret < 0) {
        fini_arrays(lane);
        return ret;
    }
    (void)uv_check_init(loop, &lane->check); /* these four cannot fail */
    (void)uv_idle_init(loop, &lane->idle);
    (void)uv_timer_init(loop, &lane->look);
    (void)uv_check_start(&lane->check, on_check);
    lane->check.data = lane;
    lane->idle.data = lane;
    lane->look.data = lane;
    lane_gate_init(lane);
    lane_tidy_init(lane);
    lane->open_handles = 5;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct lane *lane = handle->data;

    lane->open_handles--;
    if (handle == (uv_handle_t *)&lane->check) {
        uv_close((uv_handle_t *)&lane->idle, on_handle_closed);
    } else if (handle == (uv_handle_t *)&lane->idle) {
        assert(lane->open_handles == 0);
        lane->closed(lane);
    }
}

/*
 * Watches count themselves down in their own close callbacks, which all run in one phase of
 * the loop, and so do mailbox and timers.  The idle handle is closed from within that phase, so it
 * goes last, alone.
 */
void lane_close(struct lane *lane, void (*closed)(struct lane *lane))
{
    lane->closed = closed;
    fini_arrays(lane);
    mailbox_discard(&lane->mailbox);
    mailbox_close(&lane->mailbox);
    uv_close((uv_handle_t *)&lane->look, on_handle_closed);
    uv_close((uv_handle_t *)&lane->gate, on_handle_closed);
    uv_close((uv_handle_t *)&lane->tidy, on_handle_closed);
    uv_close((uv_handle_t *)&lane->check, on_handle_closed);
}

static void close_watches(struct lane *lane)
{
    for (unsigned i = 0; i < CONTEXT_LEAVES; i++) {
        watch_close(lane->watch[i]);
        lane->watch[i] = NULL;
    }
}

static int open_watches(struct lane *lane)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < lane->context.leaf_count; i++) {
        const struct path *leaf = lane->context.leaf[i];

        ret = watch_open(&lane->watch[i], lane->loop, leaf->ops->leaf->fd(leaf), false, on_leaf,
                         lane, &lane->open_handles);
        if (ret == 0) {
            watch_edges(lane->watch[i]);
        }
    }
    if (ret < 0) {
        close_watches(lane);
    }
    return ret;
}

int lane_attach(struct lane *lane, struct image *image, struct err *err)
{
    int ret = path_open(&lane->path, image->root, &lane->context, err);

    if (ret < 0) {
        return ret;
    }
    ret = open_watches(lane);
    if (ret < 0) {
        err_set(err, ret, "its event fd");
        image_name_err(image, err);
        path_close(lane->path);
        lane->path = NULL;
        return ret;
    }
    lane->holds_errors = image->holds_errors;
    memset(lane->errnos_told, 0, sizeof(lane->errnos_told));
    batch_init(&lane->batch, lane->batch.fixed, now_ns()); /* what was learned is the other one's */
    return 0;
}

void lane_detach(struct lane *lane)
{
    assert(!flight_has_any(&lane->flight));
    close_watches(lane);
    path_close(lane->path);
    lane->path = NULL;
}
