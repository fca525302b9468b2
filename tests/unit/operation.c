/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/operation.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define PATIENCE_NS (PATIENCE_MS * NS_PER_MS)

static void on_done(struct io *io)
{
    containerof(io, struct operation, io)->times_done++;
}

void operation_add(struct operation *op, void *data, size_t len)
{
    op->iov[op->io.iov_count++] = (struct iovec){.iov_base = data, .iov_len = len};
    op->io.length += len;
}

void operation_init(struct operation *op, enum io_op kind, uint64_t offset, void *data, size_t len)
{
    *op = (struct operation){
        .io = {.op = kind, .offset = offset, .result = -EINPROGRESS, .done = on_done}};
    op->io.iov = op->iov;
    op->io.priv = op->priv;
    if (len > 0) {
        operation_add(op, data, len);
    }
}

void operation_queue(struct operation *op, struct backend *backend)
{
    backend->ops->queue(backend, &op->io);
}

static bool all_done(const struct operation *ops, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (ops[i].times_done != 1) {
            return false;
        }
    }
    return true;
}

/* As a watch for edges does without reading: a signal wakes once. */
static void read_empty(int fd)
{
    uint64_t signals;
    ssize_t ret = read(fd, &signals, sizeof(signals));

    (void)ret; /* none since the last time */
}

/* What submit has finished by its end need not be signalled. */
static void start(struct backend *backend)
{
    do {
        backend->ops->submit(backend);
    } while (backend->ops->reap(backend) > 0 && backend->ops->is_held_back(backend));
}

bool operations_run(struct backend *backend, const struct operation *ops, unsigned count)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;

    start(backend);
    while (!all_done(ops, count)) {
        struct pollfd poll_fd = {.fd = backend->ops->fd(backend), .events = POLLIN};

        if (poll(&poll_fd, 1, PATIENCE_MS) == 0 || now_ns() > deadline_ns) {
            return false;
        }
        read_empty(poll_fd.fd);
        backend->ops->reap(backend);
        start(backend);
    }
    return true;
}

int64_t operation_do(struct backend *backend, enum io_op kind, uint64_t offset, void *data,
                     size_t len)
{
    struct operation op;

    operation_init(&op, kind, offset, data, len);
    operation_queue(&op, backend);
    return operations_run(backend, &op, 1) ? op.io.result : -ETIMEDOUT;
}
