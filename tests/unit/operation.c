/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/operation.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define PATIENCE_NS (PATIENCE_MS * NS_PER_MS)

/* Nobody has changed what was asked; the pieces of one with others than these are not looked at. */
static bool is_as_asked(const struct operation *op)
{
    const struct io *io = &op->io;
    const struct io *asked = &op->asked;

    return io->op == asked->op && io->flags == asked->flags && io->offset == asked->offset &&
           io->length == asked->length && io->iov == asked->iov &&
           io->iov_count == asked->iov_count &&
           (io->iov != op->iov || memcmp(op->iov, op->asked_iov, sizeof(op->iov)) == 0);
}

static void on_done(struct io *io)
{
    struct operation *op = containerof(io, struct operation, io);

    static _Thread_local unsigned ended;

    assert(is_as_asked(op));
    op->times_done++;
    op->order = ++ended;
}

static int open_path(struct way *way, struct err *err)
{
    int ret = path_open(&way->path, way->image->root, &way->context, err);

    if (ret < 0) {
        image_close(way->image);
    }
    return ret;
}

int way_open(struct way *way, const struct image_opts *opts, struct err *err)
{
    int ret;

    *way = (struct way){0};
    ret = image_open(&way->image, opts, err);
    return ret < 0 ? ret : open_path(way, err);
}

int way_open_over(struct way *way, const struct image_opts *opts, const struct node_ops *filter,
                  const void *filter_opts, struct err *err)
{
    struct node *root;
    int ret;

    *way = (struct way){0};
    ret = image_open(&way->image, opts, err);
    if (ret < 0) {
        return ret;
    }
    ret = node_open(&root, filter, way->image->root, filter_opts, err);
    if (ret < 0) {
        image_close(way->image);
        return ret;
    }
    way->image->root = root;
    return open_path(way, err);
}

int way_reopen(void *arg, struct err *err)
{
    struct way *way = arg;
    struct path *path;
    int ret = path_open(&path, way->image->root, &way->context, err);

    if (ret == 0) {
        path_close(way->path);
        way->path = path;
    }
    return ret;
}

void way_close(struct way *way)
{
    if (way->path) {
        path_close(way->path);
        image_close(way->image);
        way->path = NULL;
    }
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
    op->io.frame = op->frame;
    if (len > 0) {
        operation_add(op, data, len);
    }
}

void operation_queue(struct operation *op, struct path *path)
{
    op->asked = op->io;
    memcpy(op->asked_iov, op->iov, sizeof(op->iov));
    path_start(path, &op->io);
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
static void start(struct context *context)
{
    do {
        (void)context_submit(context);
    } while (context_reap(context) > 0 && context_is_held_back(context));
}

/* ---- messages ---- */

static void wake(struct context *context)
{
    /* A turn follows whenever there was something. */
}

static void send(struct context *context, struct message *message)
{
    struct reachable *reachable = containerof(context, struct reachable, context);
    const uint64_t one = 1;
    struct message **at;

    message->next = NULL;
    pthread_mutex_lock(&reachable->lock);
    at = &reachable->messages;
    while (*at) {
        at = &(*at)->next;
    }
    *at = message;
    if (write(reachable->event_fd, &one, sizeof(one)) < 0) {
        abort();
    }
    pthread_mutex_unlock(&reachable->lock);
}

static void run_messages(struct reachable *reachable)
{
    struct message *message;

    pthread_mutex_lock(&reachable->lock);
    message = reachable->messages;
    reachable->messages = NULL;
    pthread_mutex_unlock(&reachable->lock);
    while (message) {
        struct message *next = message->next;

        message->run(message);
        message = next;
    }
}

void reachable_init(struct reachable *reachable)
{
    static const struct context_ops ops = {.wake = wake, .send = send};

    *reachable = (struct reachable){.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    reachable->context.ops = &ops;
    reachable->context.flight = &reachable->flight;
    pthread_mutex_init(&reachable->lock, NULL);
}

void reachable_fini(struct reachable *reachable)
{
    assert(!reachable->messages && !flight_has_any(&reachable->flight));
    pthread_mutex_destroy(&reachable->lock);
    close(reachable->event_fd);
}

static struct reachable *reachable_of(struct context *context)
{
    return context->ops ? containerof(context, struct reachable, context) : NULL;
}

/* ---- turns ---- */

/* Returns false when nothing is signalled in time. */
static bool wait_for_signals(struct context *context, int timeout_ms)
{
    struct reachable *reachable = reachable_of(context);
    struct pollfd fds[CONTEXT_LEAVES + 1];
    unsigned count = 0;

    for (; count < context->leaf_count; count++) {
        const struct path *leaf = context->leaf[count];

        fds[count] = (struct pollfd){.fd = leaf->ops->leaf->fd(leaf), .events = POLLIN};
    }
    if (reachable) {
        fds[count++] = (struct pollfd){.fd = reachable->event_fd, .events = POLLIN};
    }
    if (poll(fds, count, context_must_look(context) ? 1 : timeout_ms) == 0) {
        return context_must_look(context);
    }
    for (unsigned i = 0; i < count; i++) {
        if (fds[i].revents) {
            read_empty(fds[i].fd);
        }
    }
    return true;
}

/* What came, and what is begun by it. */
static void turn(struct context *context)
{
    if (reachable_of(context)) {
        run_messages(reachable_of(context));
    }
    (void)context_reap(context);
    start(context);
}

void reachable_serve(struct reachable *reachable, const atomic_bool *is_over)
{
    while (!*is_over) {
        (void)wait_for_signals(&reachable->context, 10);
        turn(&reachable->context);
    }
}

bool operations_run(struct path *path, const struct operation *ops, unsigned count)
{
    uint64_t deadline_ns = now_ns() + PATIENCE_NS;
    struct context *context = path->context;

    start(context);
    while (!all_done(ops, count)) {
        if (!wait_for_signals(context, PATIENCE_MS) || now_ns() > deadline_ns) {
            return false;
        }
        turn(context);
    }
    return true;
}

int64_t operation_do(struct path *path, enum io_op kind, uint64_t offset, void *data, size_t len)
{
    struct operation op;

    operation_init(&op, kind, offset, data, len);
    operation_queue(&op, path);
    return operations_run(path, &op, 1) ? op.io.result : -ETIMEDOUT;
}
