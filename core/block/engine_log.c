/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/engine_log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/base/slots.h"

/* Suits any O_DIRECT. */
#define SCRATCH_BYTES 65536u

/* An operation that the engine below has. */
struct logged_op {
    struct slot slot;
    void *data; /* the asker's */
    uint64_t id;
    enum io_op op;
    bool is_dropped; /* a flush that is not done: the first block is read in its place */
};

struct engine_log {
    struct engine engine;
    struct engine_ops ops; /* ours, by the name of the one below */
    struct engine *below;  /* owned */
    struct io_log *log;    /* lent */
    struct slots slots;
    bool has_written;     /* since its last flush */
    struct iovec scratch; /* owned */
    unsigned count;       /* of the batch */
    struct logged_op *batch[ENGINE_BATCH];
};

static struct engine_log *engine_log_of(struct engine *engine)
{
    return containerof(engine, struct engine_log, engine);
}

static bool is_flush_spoilt(struct engine_log *logger)
{
    bool had_written = logger->has_written;

    logger->has_written = false;
    switch (logger->log->spoil) {
    case IO_SPOIL_FLUSHES:
        return true;
    case IO_SPOIL_MOST:
        return atomic_fetch_add(&logger->log->flushes, 1) % 4 != 0;
    case IO_SPOIL_CLEAN:
        return !had_written;
    case IO_SPOIL_NOTHING:
    case IO_SPOIL_STABLE:
    default:
        return false;
    }
}

/* What it is made of below. */
static struct engine_op make_logged(struct engine_log *logger, struct logged_op *logged,
                                    const struct engine_op *op)
{
    struct engine_op below = *op;

    logged->data = op->data;
    logged->op = op->op;
    logged->is_dropped = op->op == IO_FLUSH && is_flush_spoilt(logger);
    logger->has_written |= op->op == IO_WRITE;
    if (logged->is_dropped) {
        below = (struct engine_op){.op = IO_READ, .iov = &logger->scratch, .iov_count = 1};
    } else if (logger->log->spoil == IO_SPOIL_STABLE) {
        below.flags &= (uint16_t)~IO_FUA;
    }
    below.data = logged;
    return below;
}

static void log_beginning(const struct engine_log *logger, struct logged_op *logged,
                          const struct engine_op *op)
{
    struct io_record record = {.op = op->op, .flags = op->flags, .offset = op->offset};
    unsigned pieces = op->op == IO_WRITE ? op->iov_count : 0;

    if (op->op == IO_READ) {
        return;
    }
    for (unsigned i = 0; i < pieces; i++) {
        record.length += op->iov[i].iov_len;
    }
    logged->id = io_log_begin(logger->log, record, op->iov, pieces);
}

static void log_ending(const struct engine_log *logger, const struct logged_op *logged,
                       int64_t result)
{
    if (logged->op != IO_READ && !logged->is_dropped) {
        io_log_end(logger->log, logged->id, result);
    }
}

static bool engine_log_add(struct engine *engine, const struct engine_op *op)
{
    struct engine_log *logger = engine_log_of(engine);
    struct logged_op *logged = logger->count < ENGINE_BATCH ? slots_take(&logger->slots) : NULL;
    struct engine_op below;

    if (!logged) {
        return false;
    }
    below = make_logged(logger, logged, op);
    if (!logger->below->ops->add(logger->below, &below)) {
        slots_give(&logger->slots, logged);
        return false;
    }
    log_beginning(logger, logged, &below); /* nothing is begun before the submit */
    logger->batch[logger->count++] = logged;
    return true;
}

static int engine_log_submit(struct engine *engine)
{
    struct engine_log *logger = engine_log_of(engine);
    int ret = logger->below->ops->submit(logger->below);

    for (unsigned i = ret > 0 ? (unsigned)ret : 0; i < logger->count; i++) {
        log_ending(logger, logger->batch[i], ret < 0 ? ret : -ECANCELED);
        slots_give(&logger->slots, logger->batch[i]);
    }
    logger->count = 0;
    engine->must_look = logger->below->must_look;
    return ret;
}

static unsigned engine_log_reap(struct engine *engine, struct engine_event *events, unsigned max)
{
    struct engine_log *logger = engine_log_of(engine);
    unsigned count = logger->below->ops->reap(logger->below, events, max);

    for (unsigned i = 0; i < count; i++) {
        struct logged_op *logged = events[i].data;

        log_ending(logger, logged, events[i].result);
        events[i].data = logged->data;
        events[i].result = logged->is_dropped ? 0 : events[i].result;
        slots_give(&logger->slots, logged);
    }
    engine->must_look = logger->below->must_look;
    return count;
}

static int engine_log_fd(const struct engine *engine)
{
    const struct engine *below = containerof(engine, struct engine_log, engine)->below;

    return below->ops->fd(below);
}

static void engine_log_use_cpus(struct engine *engine, const struct cpus *cpus)
{
    struct engine *below = engine_log_of(engine)->below;

    if (below->ops->use_cpus) {
        below->ops->use_cpus(below, cpus);
    }
}

static void engine_log_close(struct engine *engine)
{
    struct engine_log *logger = engine_log_of(engine);

    logger->below->ops->close(logger->below);
    slots_fini(&logger->slots);
    free(logger->scratch.iov_base);
    free(logger);
}

static void init_engine_log(struct engine_log *logger, struct engine *below, struct io_log *log)
{
    logger->engine = *below;
    logger->ops = (struct engine_ops){
        .name = below->ops->name,
        .close = engine_log_close,
        .fd = engine_log_fd,
        .add = engine_log_add,
        .submit = engine_log_submit,
        .reap = engine_log_reap,
        .use_cpus = engine_log_use_cpus,
    };
    logger->engine.ops = &logger->ops;
    logger->below = below;
    logger->log = log;
}

/* Over `*engine`, whose place it takes. */
static int put_log_over(struct engine **engine, struct io_log *log)
{
    struct engine_log *logger = calloc(1, sizeof(*logger));

    if (!logger) {
        return -ENOMEM;
    }
    logger->scratch.iov_len = SCRATCH_BYTES;
    if (posix_memalign(&logger->scratch.iov_base, SCRATCH_BYTES, SCRATCH_BYTES) != 0) {
        goto free_logger;
    }
    if (slots_init(&logger->slots, sizeof(struct logged_op),
                   (*engine)->max_inflight + ENGINE_BATCH) < 0) {
        goto free_scratch;
    }
    init_engine_log(logger, *engine, log);
    *engine = &logger->engine;
    return 0;

free_scratch:
    free(logger->scratch.iov_base);
free_logger:
    free(logger);
    return -ENOMEM;
}

int engine_log_open(struct engine **out, const struct engine_opts *opts, struct err *err)
{
    struct engine *engine;
    int ret = engine_open(&engine, opts, err);

    if (ret == 0 && opts->log) {
        ret = put_log_over(&engine, opts->log);
        if (ret < 0) {
            engine->ops->close(engine);
            return err_set(err, ret, "image %s: room for the log of its requests", opts->path);
        }
    }
    if (ret == 0) {
        *out = engine;
    }
    return ret;
}
