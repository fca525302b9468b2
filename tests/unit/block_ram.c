/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/block_ram.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/iov.h"

struct ram_path {
    struct path path;
    struct io_list started;
    unsigned count; /* of all that came */
    uint64_t random;
    int fd;
};

/* The frame of an io. */
struct ram_io {
    struct iov_place place;
    uint64_t done; /* bytes */
    bool fails;
};

static struct ram_path *of(struct path *path)
{
    return containerof(path, struct ram_path, path);
}

static struct block_ram *ram_of(const struct path *path)
{
    return containerof(path->node, struct block_ram, node);
}

static int block_ram_open(struct node *node, const void *arg, struct err *err)
{
    struct block_ram *ram = containerof(node, struct block_ram, node);

    ram->opts = *(const struct block_ram_opts *)arg;
    ram->bytes = calloc(1, ram->opts.size);
    assert(ram->bytes);
    pthread_mutex_init(&ram->lock, NULL);
    node->facts.size = ram->opts.size;
    node->facts.block_size = ram->opts.block;
    node->facts.logical_block = ram->opts.block;
    node->facts.physical_block = ram->opts.block;
    node->facts.discard_block = ram->opts.block;
    node->facts.can_zero = true;
    return 0;
}

static void block_ram_close(struct node *node)
{
    struct block_ram *ram = containerof(node, struct block_ram, node);

    pthread_mutex_destroy(&ram->lock);
    free(ram->bytes);
}

static int block_ram_resize(struct node *node, uint64_t bytes, struct err *err)
{
    return bytes <= containerof(node, struct block_ram, node)->opts.size ? 0 : -EFBIG;
}

static int block_ram_attach(struct path *path, struct err *err)
{
    static _Atomic unsigned paths;

    io_list_init(&of(path)->started);
    of(path)->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    of(path)->random = 20261128u + ++paths;
    assert(of(path)->fd >= 0);
    return 0;
}

static void block_ram_detach(struct path *path)
{
    assert(!of(path)->started.first);
    close(of(path)->fd);
}

static unsigned below(struct ram_path *own, unsigned limit)
{
    own->random ^= own->random << 13;
    own->random ^= own->random >> 7;
    own->random ^= own->random << 17;
    return (unsigned)(own->random % limit);
}

static void check_io(const struct block_ram *ram, const struct io *io)
{
    uint64_t bytes = 0;

    if (io->op == IO_FLUSH) {
        return;
    }
    assert(io->length > 0 && is_aligned(io->offset | io->length, ram->opts.block));
    assert(range_ok(io->offset, io->length, ram->opts.size));
    for (unsigned i = 0; i < io->iov_count; i++) {
        bytes += io->iov[i].iov_len;
    }
    assert(bytes == (io->op <= IO_WRITE ? io->length : 0));
}

static bool is_change(const struct io *io)
{
    return io->op == IO_WRITE || io->op == IO_ZERO;
}

static void block_ram_start(struct path *path, struct io *io)
{
    struct block_ram *ram = ram_of(path);
    const unsigned every = ram->opts.error_every;

    check_io(ram, io);
    ram->volatiles += is_change(io) && !(io->flags & IO_FUA);
    *(struct ram_io *)io->frame =
        (struct ram_io){.fails = every && of(path)->count++ % every == every - 1};
    io_list_append(&of(path)->started, io);
}

static void do_sector(struct block_ram *ram, struct io *io)
{
    struct ram_io *own = io->frame;
    uint8_t *bytes = ram->bytes + io->offset + own->done;

    pthread_mutex_lock(&ram->lock);
    if (io->op == IO_READ) {
        iov_scatter(io->iov, &own->place, bytes, SECTOR_SIZE);
    } else if (io->op == IO_WRITE) {
        iov_gather(io->iov, &own->place, bytes, SECTOR_SIZE);
    } else {
        memset(bytes, io->op == IO_ZERO ? 0 : BLOCK_RAM_DISCARDED, SECTOR_SIZE);
    }
    pthread_mutex_unlock(&ram->lock);
    own->done += SECTOR_SIZE;
}

/* Up to some sectors; returns whether it is over. */
static bool do_some(struct block_ram *ram, struct io *io, uint64_t sectors)
{
    struct ram_io *own = io->frame;

    for (; io->op != IO_FLUSH && sectors > 0 && own->done < io->length; sectors--) {
        do_sector(ram, io);
    }
    return io->op == IO_FLUSH || own->done == io->length || own->fails;
}

static int error_of(const struct io *io)
{
    return io->op == IO_READ ? -EIO : -ENOSPC;
}

/* A part of all, some as a whole. */
static unsigned block_ram_reap(struct path *path)
{
    struct ram_path *own = of(path);
    struct io_list started = own->started;
    unsigned count = 0;

    if (ram_of(path)->opts.is_by_hand || !started.first) {
        return 0;
    }
    io_list_init(&own->started);
    while (started.first) {
        struct io *io = io_list_take(&started);

        if (below(own, 3) == 0 && do_some(ram_of(path), io, 1 + below(own, 1 + below(own, 300)))) {
            io_end(io, ((struct ram_io *)io->frame)->fails ? error_of(io) : 0);
            count++;
        } else {
            io_list_append(&own->started, io);
        }
    }
    if (own->started.first) {
        (void)eventfd_write(own->fd, 1);
    }
    return count;
}

static struct submitted block_ram_submit(struct path *path)
{
    if (of(path)->started.first) {
        (void)eventfd_write(of(path)->fd, 1);
    }
    return (struct submitted){0};
}

static int block_ram_fd(const struct path *path)
{
    return containerof(path, struct ram_path, path)->fd;
}

static bool block_ram_is_held_back(const struct path *path)
{
    return false;
}

static const struct leaf_ops leaf = {
    .fd = block_ram_fd,
    .submit = block_ram_submit,
    .reap = block_ram_reap,
    .is_held_back = block_ram_is_held_back,
};

const struct node_ops block_ram_ops = {
    .type = "ram",
    .node_bytes = sizeof(struct block_ram),
    .path_bytes = sizeof(struct ram_path),
    .open = block_ram_open,
    .close = block_ram_close,
    .attach = block_ram_attach,
    .detach = block_ram_detach,
    .start = block_ram_start,
    .resize = block_ram_resize,
    .leaf = &leaf,
};

struct io *block_ram_io(const struct path *path, unsigned index)
{
    struct io *io = containerof(path, struct ram_path, path)->started.first;

    while (io && index-- > 0) {
        io = io->next;
    }
    return io;
}

void block_ram_end(struct path *path, int error)
{
    struct io *io = io_list_take(&of(path)->started);

    if (error == 0) {
        (void)do_some(ram_of(path), io, UINT64_MAX);
    }
    io_end(io, error);
}
