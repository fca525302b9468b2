/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/wipe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/zeroes.h"
#include "core/block/image_file.h"
#include "core/block/io_log.h"

/* From best to last; which of them an operation may go is said by its list. */
enum wipe_way {
    WAY_DISCARD,  /* device: what is read afterwards is not said */
    WAY_PUNCH,    /* gives back, reads as zeroes */
    WAY_ZERO,     /* file: reads as zeroes, and stays allocated */
    WAY_ZERO_OUT, /* device: the same */
    WAY_WRITE,    /* the same, at the price of writes */
    WAY_END,
};

static const enum wipe_way discard_file[] = {WAY_PUNCH, WAY_END};
static const enum wipe_way discard_device[] = {WAY_DISCARD, WAY_END};
static const enum wipe_way unmap_file[] = {WAY_PUNCH, WAY_ZERO, WAY_WRITE, WAY_END};
static const enum wipe_way unmap_device[] = {WAY_PUNCH, WAY_ZERO_OUT, WAY_WRITE, WAY_END};
static const enum wipe_way zero_file[] = {WAY_ZERO, WAY_WRITE, WAY_END};
static const enum wipe_way zero_device[] = {WAY_ZERO_OUT, WAY_WRITE, WAY_END};

static const enum wipe_way *ways_of(const struct wipe *wipe, const struct io *io)
{
    bool is_device = wipe->image->shape.is_device;

    if (io->op == IO_DISCARD) {
        return is_device ? discard_device : discard_file;
    }
    if (io->flags & IO_MAY_UNMAP) {
        return is_device ? unmap_device : unmap_file;
    }
    return is_device ? zero_device : zero_file;
}

/* Has the host not got that at all? */
static bool is_way_lacking(int64_t code)
{
    return code == -EOPNOTSUPP || code == -ENOSYS || code == -ENOTTY || code == -ENODEV;
}

static int64_t call_ioctl(const struct wipe *wipe, unsigned long request, uint64_t offset,
                          uint64_t length)
{
    uint64_t range[2] = {offset, length};

    return ioctl(wipe->image->fd, request, range) < 0 ? -errno : (int64_t)length;
}

static int64_t call_fallocate(const struct wipe *wipe, int mode, uint64_t offset, uint64_t length)
{
    return fallocate(wipe->image->fd, mode, (off_t)offset, (off_t)length) < 0 ? -errno
                                                                              : (int64_t)length;
}

/* A device refuses a part of a sector, of which a discard need say nothing. */
static int64_t discard_sectors(const struct wipe *wipe, uint64_t offset, uint64_t length)
{
    uint64_t sector = wipe->image->shape.logical_block;
    uint64_t first = round_up(offset, sector);
    uint64_t end = (offset + length) / sector * sector;
    int64_t ret = end > first ? call_ioctl(wipe, BLKDISCARD, first, end - first) : 0;

    return ret < 0 ? ret : (int64_t)length;
}

static int64_t write_zeroes(const struct wipe *wipe, uint64_t offset, uint64_t length)
{
    ssize_t ret = pwrite(wipe->image->fd, zeroes_bytes, min_of(length, (uint64_t)ZEROES_BYTES),
                         (off_t)offset);

    return ret < 0 ? -errno : ret > 0 ? ret : -ENOSPC;
}

/* What was zeroed past the end of a file that has shrunk makes it longer, as a write does. */
static int64_t go_way(const struct wipe *wipe, enum wipe_way way, uint64_t offset, uint64_t length)
{
    switch (way) {
    case WAY_DISCARD:
        return discard_sectors(wipe, offset, length);
    case WAY_PUNCH:
        return call_fallocate(wipe, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    case WAY_ZERO:
        return call_fallocate(wipe, FALLOC_FL_ZERO_RANGE, offset, length);
    case WAY_ZERO_OUT:
        return call_ioctl(wipe, BLKZEROOUT, offset, length);
    case WAY_WRITE:
    default:
        return write_zeroes(wipe, offset, length);
    }
}

/* EINVAL: a device does not do it with this piece, as when it cuts a sector. */
static int64_t go_best_way(struct wipe *wipe, const enum wipe_way *way, uint64_t offset,
                           uint64_t length)
{
    for (; *way != WAY_END; way++) {
        int64_t ret;

        if (wipe->lacks & 1u << *way) {
            continue;
        }
        ret = go_way(wipe, *way, offset, length);
        if (is_way_lacking(ret) && *way != WAY_WRITE) {
            wipe->lacks |= 1u << *way;
        } else if (ret != -EINVAL || *way == WAY_WRITE) {
            return ret;
        }
    }
    return (int64_t)length; /* a discard is no more than a hint */
}

static uint64_t allocated_bytes(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* What takes no time may have had nothing to do, and a part of a piece says little. */
static void learn_piece(struct wipe *wipe, uint64_t bytes, uint64_t took_ns)
{
    uint64_t most = WIPE_PIECE_BYTES >> wipe->halved;

    if (took_ns > WIPE_SLOW_NS && most > WIPE_PIECE_MIN_BYTES) {
        wipe->halved++;
    } else if (took_ns < WIPE_SLOW_NS / 4 && bytes == most && wipe->halved > 0) {
        wipe->halved--;
    }
}

static int64_t do_piece(struct wipe *wipe, const struct io *io, uint64_t offset, uint64_t bytes)
{
    struct io_log *log = wipe->image->log;
    const struct io_record asked = {
        .op = io->op, .flags = io->flags & IO_MAY_UNMAP, .offset = offset, .length = bytes};
    uint64_t began_ns = now_ns();
    uint64_t id = io_log_begin(log, asked, NULL, 0);
    int64_t ret = go_best_way(wipe, ways_of(wipe, io), offset, bytes);

    io_log_end(log, id, ret);
    learn_piece(wipe, bytes, now_ns() - began_ns);
    return ret;
}

int64_t wipe_piece(struct wipe *wipe, const struct io *io, uint64_t offset, uint64_t length,
                   uint64_t *freed)
{
    bool gives_back = io->op == IO_DISCARD || (io->flags & IO_MAY_UNMAP);
    uint64_t most = WIPE_PIECE_BYTES >> wipe->halved;
    uint64_t piece = min_of(length, most - offset % most);
    uint64_t before, after;
    int64_t ret;

    if (!gives_back || wipe->image->shape.is_device) {
        return do_piece(wipe, io, offset, piece);
    }
    /* One of a file at a time, as its file system does it, or two would count the same bytes. */
    pthread_mutex_lock(wipe->image->wipe_lock);
    before = allocated_bytes(wipe->image->fd);
    ret = do_piece(wipe, io, offset, piece);
    after = allocated_bytes(wipe->image->fd);
    pthread_mutex_unlock(wipe->image->wipe_lock);
    *freed += before > after ? before - after : 0;
    return ret;
}
