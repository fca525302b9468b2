/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/file_io.h"

#include "core/block/bounce.h"

void file_io_fill_buffer(struct io *io)
{
    struct file_io *fio = file_io_of(io);

    fio->piece.iov_base = fio->buffer;
    fio->piece.iov_len = min_of(io->length - fio->done, (uint64_t)BOUNCE_BYTES);
    if (io->op == IO_WRITE) {
        iov_gather(io->iov, &fio->place, fio->buffer, fio->piece.iov_len);
    }
}

bool file_io_move_on(struct io *io, size_t bytes)
{
    struct file_io *fio = file_io_of(io);

    fio->done += bytes;
    if (fio->buffer) {
        if (io->op == IO_READ) {
            iov_scatter(io->iov, &fio->place, fio->buffer, bytes);
        }
    } else if (fio->done < io->length) {
        iov_pass(io->iov, &fio->place, bytes);
        if (fio->place.skip > 0) {
            fio->piece = iov_rest(io->iov, &fio->place);
        }
    }
    return fio->done < io->length;
}

bool file_io_is_short_write(const struct io *io, size_t bytes)
{
    const struct file_io *fio = file_io_of(io);

    return fio->buffer && io->op == IO_WRITE && bytes < fio->piece.iov_len;
}
