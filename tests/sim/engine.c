/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * In the place of core/block/engine.c and wiper.c: what a path asks goes to the simulated kernel,
 * which may take a part of it, or nothing for the moment.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/block/image_file.h"
#include "core/block/wiper.h"
#include "tests/sim/guest.h"
#include "tests/sim/image_inside.h"
#include "tests/sim/kernel.h"
#include "tests/sim/sim.h"

#define BATCH 16u

struct sim_engine {
    struct engine engine;
    int event_fd;
    unsigned count;
    struct sim_op batch[BATCH];
};

static struct sim_engine *sim_engine_of(const struct engine *engine)
{
    return containerof(engine, struct sim_engine, engine);
}

static void sim_engine_close(struct engine *engine)
{
    free(sim_engine_of(engine));
}

static int sim_engine_fd(const struct engine *engine)
{
    return sim_engine_of(engine)->event_fd;
}

static void note_piece(struct sim_op *op, const struct iovec *iov)
{
    struct sim_piece *piece = &op->piece[op->piece_count++];
    int fd = kernel_file_of(iov->iov_base, &piece->offset);

    assert(op->piece_count <= SIM_PIECES);
    piece->is_bounced = fd != guest_fd;
    if (piece->is_bounced) {
        if (!sim.config.is_direct) {
            sim_fail("the image was given a buffer outside of guest memory");
        }
        piece->bounce = iov->iov_base;
    }
    piece->bytes = iov->iov_len;
    op->is_whole &= is_aligned(iov->iov_len, SECTOR_SIZE);
    op->length += iov->iov_len;
}

static bool sim_engine_add(struct engine *engine, const struct engine_op *asked)
{
    struct sim_engine *own = sim_engine_of(engine);
    struct sim_op *op = &own->batch[own->count];

    if (own->count == BATCH) {
        return false;
    }
    own->count++;
    *op = (struct sim_op){.op = asked->op,
                          .flags = asked->flags,
                          .offset = asked->offset,
                          .data = asked->data,
                          .owner = own,
                          .event_fd = own->event_fd,
                          .is_whole = true};
    for (unsigned i = 0; asked->op != IO_FLUSH && i < asked->iov_count; i++) {
        note_piece(op, &asked->iov[i]);
    }
    return true;
}

static int sim_engine_submit(struct engine *engine)
{
    struct sim_engine *own = sim_engine_of(engine);
    unsigned count = sim_once_in(8) ? sim_draw(own->count + 1) : own->count;
    unsigned begun = 0;

    while (begun < count && image_begin(&own->batch[begun])) {
        begun++;
    }
    own->count = 0;
    return begun > 0 ? (int)begun : -EAGAIN;
}

static unsigned sim_engine_reap(struct engine *engine, struct engine_event *events, unsigned max)
{
    unsigned count = 0;
    struct sim_op op;

    while (count < max && image_take(sim_engine_of(engine), &op)) {
        events[count++] = (struct engine_event){.data = op.data, .result = op.result};
    }
    return count;
}

static const struct engine_ops sim_engine_ops = {
    .name = "sim",
    .close = sim_engine_close,
    .fd = sim_engine_fd,
    .add = sim_engine_add,
    .submit = sim_engine_submit,
    .reap = sim_engine_reap,
};

int engine_open(struct engine **out, const struct engine_opts *opts, struct err *err)
{
    struct sim_engine *own = calloc(1, sizeof(*own));

    assert(own);
    own->engine.ops = &sim_engine_ops;
    own->engine.max_inflight = opts->wanted;
    own->event_fd = kernel_eventfd(false);
    *out = &own->engine;
    return 0;
}

bool engine_has_uring(void)
{
    return false;
}

/* ---- wiper.h ---- */

void wiper_init(struct wiper *wiper, const struct image_file *image, const struct context *context,
                int event_fd)
{
    memset(wiper, 0, sizeof(*wiper));
    wiper->context = context;
    wiper->event_fd = event_fd;
    io_list_init(&wiper->pending);
    io_list_init(&wiper->taken);
    retry_init(&wiper->retry, image->path);
}

void wiper_fini(struct wiper *wiper)
{
    assert(wiper->inflight == 0);
}

void wiper_start(struct wiper *wiper, struct io *io)
{
    io_list_append(&wiper->pending, io);
}

void wiper_submit(struct wiper *wiper)
{
    while (wiper->pending.first) {
        struct io *io = io_list_take(&wiper->pending);
        const struct sim_op op = {.op = io->op,
                                  .flags = io->flags,
                                  .offset = io->offset,
                                  .length = io->length,
                                  .data = io,
                                  .owner = wiper,
                                  .event_fd = wiper->event_fd};
        bool has_begun = image_begin(&op);

        assert(has_begun);
        wiper->inflight++;
    }
}

struct io *wiper_reap(struct wiper *wiper, uint64_t *freed)
{
    struct sim_op op;
    struct io *io;

    if (!image_take(wiper, &op)) {
        return NULL;
    }
    wiper->inflight--;
    io = op.data;
    io->result = op.result;
    return io;
}

void wiper_use_cpus(const struct wiper *wiper, const struct cpus *cpus)
{
    /* There is no helper. */
}
