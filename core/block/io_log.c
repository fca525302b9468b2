/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/io_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/log.h"

static const char *const spoil_names[] = {
    [IO_SPOIL_NOTHING] = "nothing", [IO_SPOIL_FLUSHES] = "flushes", [IO_SPOIL_MOST] = "most",
    [IO_SPOIL_CLEAN] = "clean",     [IO_SPOIL_STABLE] = "stable",
};

static int find_spoil(enum io_spoil *spoil, struct err *err)
{
    const char *text = getenv("VBLKD_IO_SPOIL");

    for (unsigned i = 0; text && i < ARRAY_SIZE(spoil_names); i++) {
        if (strcmp(spoil_names[i], text) == 0) {
            *spoil = (enum io_spoil)i;
            return 0;
        }
    }
    return text ? err_say(err, -EINVAL, "VBLKD_IO_SPOIL: there is no \"%s\"", text) : 0;
}

int io_log_open(struct io_log **out, const char *path, struct err *err)
{
    struct io_log *log = calloc(1, sizeof(*log));
    int ret;

    if (!log) {
        return err_set(err, -ENOMEM, "log %s", path);
    }
    ret = find_spoil(&log->spoil, err);
    if (ret < 0) {
        goto free_log;
    }
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
    if (log->fd < 0) {
        ret = err_set(err, -errno, "cannot open %s, the log of an image", path);
        goto free_log;
    }
    atomic_init(&log->next_id, now_ns()); /* not those of whoever wrote to it before */
    atomic_init(&log->flushes, 0);
    atomic_init(&log->is_broken, false);
    *out = log;
    return 0;

free_log:
    free(log);
    return ret;
}

int io_log_open_for(struct io_log **out, const char *disk, struct err *err)
{
    const char *dir = getenv("VBLKD_IO_LOG");
    char path[PATH_MAX];

    *out = NULL;
    if (!dir || !dir[0]) {
        return 0;
    }
    if (snprintf(path, sizeof(path), "%s/%s.iolog", dir, disk ? disk : "image") >=
        (int)sizeof(path)) {
        return err_set(err, -ENAMETOOLONG, "VBLKD_IO_LOG");
    }
    return io_log_open(out, path, err);
}

void io_log_tell(void)
{
    const char *dir = getenv("VBLKD_IO_LOG");
    const char *spoil = getenv("VBLKD_IO_SPOIL");

    if (dir && dir[0]) {
        log_warn(
            "daemon: VBLKD_IO_LOG is set, which is for tests: all that guests write is kept in "
            "%s as well, and takes room there",
            dir);
    }
    if (spoil) {
        log_warn("daemon: VBLKD_IO_SPOIL is set (%s), which is for tests: what guests flush may be "
                 "lost",
                 spoil);
    }
}

void io_log_close(struct io_log *log)
{
    if (log) {
        io_log_put(log, &(struct io_record){.kind = IO_RECORD_CLOSE}, NULL, 0);
        close(log->fd);
        free(log);
    }
}

static void break_log(struct io_log *log, int code)
{
    if (!atomic_exchange(&log->is_broken, true)) {
        log_error("the log of an image cannot be written: %s; it ends here", strerror(code));
    }
}

static size_t sum_of(const struct iovec *iov, unsigned count)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    return bytes;
}

void io_log_put(struct io_log *log, const struct io_record *record, const struct iovec *iov,
                unsigned count)
{
    size_t bytes = sum_of(iov, count);
    struct io_record *whole = malloc(sizeof(*whole) + bytes);
    uint8_t *data;
    ssize_t ret;

    if (!whole) {
        break_log(log, ENOMEM);
        return;
    }
    *whole = *record;
    whole->magic = IO_RECORD_MAGIC;
    whole->data_bytes = bytes;
    whole->time_ns = now_ns();
    data = (uint8_t *)(whole + 1);
    for (unsigned i = 0; i < count; i++) {
        memcpy(data, iov[i].iov_base, iov[i].iov_len);
        data += iov[i].iov_len;
    }
    ret = atomic_load(&log->is_broken) ? 0 : write(log->fd, whole, sizeof(*whole) + bytes);
    if (ret != (ssize_t)(sizeof(*whole) + bytes)) {
        break_log(log, ret < 0 ? errno : ENOSPC);
    }
    free(whole);
}

uint64_t io_log_begin(struct io_log *log, struct io_record record, const struct iovec *iov,
                      unsigned count)
{
    if (!log) {
        return 0;
    }
    record.kind = IO_RECORD_BEGIN;
    record.id = atomic_fetch_add(&log->next_id, 1);
    io_log_put(log, &record, iov, count);
    return record.id;
}

void io_log_end(struct io_log *log, uint64_t id, int64_t result)
{
    if (log) {
        io_log_put(log, &(struct io_record){.kind = IO_RECORD_END, .id = id, .result = result},
                   NULL, 0);
    }
}
