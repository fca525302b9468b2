/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One operation on a backend as a test makes it, and the loop that drives a backend until
 * operations are done: what core/device.c does with libuv, with poll(2).
 */

#include "core/backend.h"

#define OPERATION_IOVS 8

struct operation {
    struct io io;
    struct iovec iov[OPERATION_IOVS];
    unsigned times_done;
    _Alignas(16) uint8_t priv[BACKEND_IO_SIZE];
};

/* One read or write of one buffer. */
void operation_init(struct operation *op, enum io_op kind, uint64_t offset, void *data, size_t len);

/* Add another buffer. */
void operation_add(struct operation *op, void *data, size_t len);

void operation_queue(struct operation *op, struct backend *backend);

/* Submit and reap until all are done, each once.  Returns false when that takes 20 seconds. */
bool operations_run(struct backend *backend, const struct operation *ops, unsigned count);

/* Queue one and run it; its result. */
int64_t operation_do(struct backend *backend, enum io_op kind, uint64_t offset, void *data,
                     size_t len);
