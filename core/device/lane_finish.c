/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_finish.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/device/lane_zeroes.h"
#include "core/device/queue.h"
#include "core/virtio/blk_ranges.h"

static const char *what_follows(const struct lane *lane, enum error_action action)
{
    if (lane->holds_errors) {
        return "the guest waits, for this and others like it, until the disk is started again";
    }
    return action == ERROR_IGNORE
               ? "the guest is told that all went well, later ones like it are only counted"
               : "the guest gets an I/O error, later ones like it are only counted";
}

/* Each errno is told once while the image is open; the statistics count them all. */
static void tell_io_error(struct lane *lane, const struct request *request,
                          enum error_action action)
{
    static const char *const verb[] = {"read", "write", "flush", "discard", "zeroing"};
    unsigned code = min_of((unsigned)-request->io.result, 191u);
    uint64_t *word = &lane->errnos_told[code >> 6];

    if (*word & BIT(code & 63)) {
        return;
    }
    *word |= BIT(code & 63);
    log_error("%s: %s of %" PRIu64 " bytes at offset %" PRIu64 " failed: %s; %s", lane->view->name,
              verb[request->io.op], request->io.length, request->io.offset,
              error_text(request->io.result), what_follows(lane, action));
}

/* The status, and mark it and what was read, if so wanted, before the driver is shown anything. */
static uint32_t finish_logged(struct lane *lane, struct request *request)
{
    uint32_t len = blk_finish(request, lane->now_ns, &lane->stats);

    if (__builtin_expect(lane->view->logs_data, false)) {
        blk_mark_data(request, &lane->view->mem);
        blk_mark_status(request, &lane->view->mem);
    }
    return len;
}

void lane_finish(struct request *request)
{
    struct queue *q = request->queue;
    struct lane *lane = q->lane;
    uint32_t len = finish_logged(lane, request);

    ring_push(&q->ring, &request->chain, len);
    lane->unpublished |= BIT(q->index);
    lane->flight.guest--;
}

static void count_held(struct queue *q, const struct request *request)
{
    q->held.count[request->kind]++;
    if (q->held.first.code == 0) {
        q->held.first = (struct held_failure){
            .code = (int)request->io.result,
            .kind = request->kind,
            .ring = q->index,
            .offset = request->io.offset,
            .length = request->io.length,
            .since_ns = q->lane->now_ns,
        };
    }
}

/* It is no longer in flight: whoever waits for that does not wait for a person. */
static void hold_request(struct request *request)
{
    struct queue *q = request->queue;

    count_held(q, request);

    if (q->view->logs_data) {
        blk_mark_data(request, &q->view->mem); /* of a read that failed, a part */
    }
    ring_hold(&q->ring, &request->chain);
    q->lane->flight.guest--;
}

/* Zeroes that the image could not make are written.  What was begun before is submitted. */
static bool is_written_after_all(struct lane *lane, struct request *request)
{
    if (!lane_zeroes_turned(request)) {
        return false;
    }
    lane_zeroes_turn_back(request);
    path_start(lane->path, &request->io);
    return true;
}

/* A discard of many segments does them one after the other; what was begun before is submitted. */
static bool goes_on_with_ranges(struct request *request)
{
    struct lane *lane = request->queue->lane;

    if (request->io.op <= IO_FLUSH) {
        return false;
    }
    if (lane_zeroes_turned(request)) {
        lane_zeroes_turn_back(request);
        lane->stats.turned++;
        return false;
    }
    if (!blk_ranges_next(&lane->view->blk, request)) {
        return false;
    }
    path_start(lane->path, &request->io);
    return true;
}

/* The disk's thread is told at the end of the turn. */
static void hold_and_pause(struct lane *lane, struct request *request)
{
    hold_request(request);
    request->queue->held.pauses = true;
    lane->has_failed = true;
}

/* A guest that is told that it has read something must not see what lay in its memory, or a part.
 */
static void ignore_failure(struct lane *lane, struct request *request)
{
    const struct io *io = &request->io;

    for (unsigned i = 0; io->op == IO_READ && i < io->iov_count; i++) {
        memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
    }
    lane->stats.ignored++;
    request->io.result = 0;
    if (!goes_on_with_ranges(request)) {
        lane_finish(request);
    }
}

/* Apart, as what it needs would be made ready for those that succeed, too. */
static __attribute__((noinline)) void end_failed(struct lane *lane, struct request *request)
{
    enum error_action action;

    if (is_written_after_all(lane, request)) {
        return;
    }
    action =
        error_policy_of(&lane->view->errors, &request->io, node_loss(lane->path->node).code < 0);
    if (lane->holds_errors) {
        tell_io_error(lane, request, action);
        hold_request(request);
    } else if (action == ERROR_STOP) {
        hold_and_pause(lane, request);
    } else {
        tell_io_error(lane, request, action);
        if (action == ERROR_IGNORE) {
            ignore_failure(lane, request);
        } else {
            lane_finish(request);
        }
    }
}

void lane_on_io_done(struct io *io)
{
    struct request *request = containerof(io, struct request, io);

    if (io->result < 0) {
        end_failed(request->queue->lane, request);
    } else if (!goes_on_with_ranges(request)) {
        lane_finish(request);
    }
}

static void fail_request(struct queue *q, struct request *request)
{
    struct lane *lane = q->lane;

    request->start_ns = lane->now_ns;
    if (blk_parse(&lane->view->blk, request, &lane->stats) == BLK_BROKEN) {
        ring_drop(&q->ring, &request->chain);
        return;
    }
    request->io.result = -EIO;
    ring_push(&q->ring, &request->chain, finish_logged(lane, request));
}

/*
 * A long chain may find no array, as other rings have them, and cannot wait for one; but its status
 * is found without.
 */
void lane_fail_held(struct queue *q)
{
    struct chain *chain;

    ring_set_arrays(&q->ring, NULL);
    ring_retry(&q->ring);
    while (q->ring.held_count > 0 && ring_pop(&q->ring, &chain) > 0) {
        fail_request(q, containerof(chain, struct request, chain));
    }
    ring_set_arrays(&q->ring, &q->lane->arrays);
    if (ring_publish(&q->ring)) {
        queue_call(q);
        q->lane->stats.interrupts++;
    }
}
