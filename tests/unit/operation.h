/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One operation on an image as a test makes it, and the loop that drives a context until
 * operations are done: what core/device/lane_turn.c does with libuv, with poll(2).
 */

#include <pthread.h>
#include <stdatomic.h>

#include "core/block/context.h"
#include "core/block/image.h"
#include "core/block/path.h"

#define OPERATION_IOVS 8

/* A context that can be sent messages, for a thread of the test's own.  All else is as with one
 * that is all zero. */
struct reachable {
    struct context context;
    struct flight flight;
    pthread_mutex_t lock;
    struct message *messages; /* oldest first; under the lock */
    int event_fd;
};

void reachable_init(struct reachable *reachable);
void reachable_fini(struct reachable *reachable);

/* Do what others send until `is_over`, which is stored before the last message. */
void reachable_serve(struct reachable *reachable, const atomic_bool *is_over);

/* An open image with one way to it.  Does not move while it is open. */
struct way {
    struct context context;
    struct image *image;
    struct path *path; /* NULL: it is closed */
};

int way_open(struct way *way, const struct image_opts *opts, struct err *err);

/* The same, with a filter over it. */
int way_open_over(struct way *way, const struct image_opts *opts, const struct node_ops *filter,
                  const void *filter_opts, struct err *err);

/* An image_reopen for a way, as a lane has another: first the new path, then the old one goes. */
int way_reopen(void *way, struct err *err);

/* Nothing happens when it is closed. */
void way_close(struct way *way);

struct operation {
    struct io io;
    struct iovec iov[OPERATION_IOVS];
    struct io asked; /* as it was when it was queued, which it stays */
    struct iovec asked_iov[OPERATION_IOVS];
    unsigned times_done;
    unsigned order; /* of its end, among those of all of its thread */
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

/* One read or write of one buffer. */
void operation_init(struct operation *op, enum io_op kind, uint64_t offset, void *data, size_t len);

/* Add another buffer. */
void operation_add(struct operation *op, void *data, size_t len);

void operation_queue(struct operation *op, struct path *path);

/* Submit and reap until all are done, each once.  Returns false when that takes 20 seconds. */
bool operations_run(struct path *path, const struct operation *ops, unsigned count);

/* Queue one and run it; its result. */
int64_t operation_do(struct path *path, enum io_op kind, uint64_t offset, void *data, size_t len);
