/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/retry.h"

#include <errno.h>
#include <string.h>

void retry_init(struct retry *retry, const char *path)
{
    *retry = (struct retry){.path = path};
    io_list_init(&retry->later);
}

/*
 * EAGAIN: no memory for a request, no room in a queue.  ENOMEM: none for its list of pieces.
 * EINTR: io_uring was entered with a signal under way.
 * QEMU submits anew what io_uring ended with EAGAIN or EINTR as well (QEMU 10.0,
 * block/io_uring.c).
 */
bool retry_is_momentary(int64_t code)
{
    return code == -EAGAIN || code == -ENOMEM || code == -EINTR;
}

static void tell_no_room(struct retry *retry, int code)
{
    log_limited(&retry->log, LOG_LEVEL_WARN,
                "image %s: the kernel takes no requests for the moment: %s; they are tried again "
                "for %u seconds",
                retry->path, strerror(-code), (unsigned)(RETRY_NS / NS_PER_S));
}

bool retry_submit(struct retry *retry, int code, bool is_busy)
{
    uint64_t now = now_ns();

    if (is_busy || !retry->since_ns) {
        retry->since_ns = now;
    }
    if (!is_busy && !retry->is_told) {
        retry->is_told = true;
        tell_no_room(retry, code);
    }
    return now - retry->since_ns < RETRY_NS;
}

void retry_end(struct retry *retry)
{
    retry->since_ns = 0;
    retry->is_told = false;
}

bool retry_keep(struct retry *retry, struct io *io, int64_t code)
{
    struct file_io *fio = file_io_of(io);

    if (fio->tries == RETRY_NS / RETRY_PAUSE_NS) {
        return false;
    }
    if (fio->tries++ == 0) {
        tell_no_room(retry, (int)code);
    }
    if (!retry->later.first) {
        retry->later_ns = now_ns() + RETRY_PAUSE_NS;
    }
    io_list_append(&retry->later, io);
    return true;
}

void retry_release(struct retry *retry, struct io_list *pending)
{
    if (!retry->later.first || now_ns() < retry->later_ns) {
        return;
    }
    while (retry->later.first) {
        io_list_append(pending, io_list_take(&retry->later));
    }
}
