/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_allocate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "core/base/zeroes.h"

/* Of one call, and between two looks at whether it is wanted still: a moment, on a slow disk too.
 */
#define FALLOC_BYTES (256u << 20)
#define FULL_BYTES ZEROES_BYTES

/* So much is in the page cache at once, and is waited for at the end. */
#define SYNC_BYTES (32u << 20)

static int fill_piece(int fd, uint64_t offset, uint64_t bytes)
{
    while (bytes > 0) {
        ssize_t ret = pwrite(fd, zeroes_bytes, bytes, (off_t)offset);

        if (ret == 0 || (ret < 0 && errno != EINTR)) {
            return ret == 0 ? -ENOSPC : -errno;
        }
        offset += ret > 0 ? (uint64_t)ret : 0;
        bytes -= ret > 0 ? (uint64_t)ret : 0;
    }
    return 0;
}

/* Some file systems say only then that they have no room. */
static int sync_written(int fd, bool is_direct)
{
    if (fdatasync(fd) < 0) {
        return -errno;
    }
    if (!is_direct) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* nobody is to read the zeroes */
    }
    return 0;
}

static int falloc_piece(int fd, uint64_t offset, uint64_t bytes)
{
    int ret;

    do {
        ret = fallocate(fd, 0, (off_t)offset, (off_t)bytes) < 0 ? -errno : 0;
    } while (ret == -EINTR);
    return ret;
}

static int allocate_all(int fd, const struct image_opts *opts, bool is_direct)
{
    bool is_full = opts->preallocation == PREALLOCATION_FULL;
    uint64_t most = is_full ? FULL_BYTES : FALLOC_BYTES;
    uint64_t piece;
    int ret = 0;

    for (uint64_t at = 0; ret == 0 && at < opts->size; at += piece) {
        piece = min_of(opts->size - at, most);
        if (opts->progress && atomic_load(&opts->progress->is_unwanted)) {
            return -ECANCELED;
        }
        ret = is_full ? fill_piece(fd, at, piece) : falloc_piece(fd, at, piece);
        if (ret == 0 && is_full && !is_direct && is_aligned(at + piece, SYNC_BYTES)) {
            ret = sync_written(fd, is_direct);
        }
        if (ret == 0 && opts->progress) {
            atomic_store(&opts->progress->bytes, at + piece);
        }
    }
    return ret == 0 && is_full ? sync_written(fd, is_direct) : ret;
}

int image_allocate(int fd, const struct image_opts *opts, bool is_direct, struct err *err)
{
    int ret = allocate_all(fd, opts, is_direct);

    if (ret == -EOPNOTSUPP || ret == -ENOSYS) {
        (void)err_say(err, ret,
                      "image %s: its file system cannot allocate room without writing to it",
                      opts->path);
        err_hint(err, "use --preallocation full, which writes zeroes, or off");
    } else if (ret == -ECANCELED) {
        (void)err_say(err, ret, "image %s: nobody wants it any more", opts->path);
    } else if (ret < 0) {
        (void)err_set(err, ret, "cannot allocate the %" PRIu64 " bytes of image %s", opts->size,
                      opts->path);
    }
    if (ret == -ENOSPC) {
        err_hint(err, "make room, or use --preallocation off");
    }
    return ret;
}
