/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/log.h"
#include "daemon/protocol.h"

/* Kept free for control: its clients, the state file, and what a front-end sends at once. */
#define FDS_SPARE (PROTOCOL_CLIENTS_MAX + 64)

static uint64_t fd_limit(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

void limits_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* limits_log tells how far it got */
    }
}

void limits_log(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        log_warn("daemon: cannot raise the limit of open files to %" PRIu64,
                 (uint64_t)limit.rlim_max);
    }
    log_info("daemon: at most %" PRIu64 " open files", fd_limit());
}

/* The kernel gives out the lowest that is free, so this is about how many are in use. */
static uint64_t fds_in_use(uint64_t otherwise)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        return errno == EMFILE ? otherwise : 0; /* without standard error it cannot be told */
    }
    close(fd);
    return (uint64_t)fd;
}

/* What limits_check keeps free when a disk is added. */
static uint64_t fds_spare(uint64_t limit)
{
    return min_of((uint64_t)FDS_SPARE, limit / 4);
}

/* With half of the spare files: what could be added must come back. */
int limits_check_all(size_t count, uint64_t files, struct err *err)
{
    uint64_t limit = fd_limit();
    uint64_t need = fds_in_use(limit) + fds_spare(limit) / 2 + files;

    if (need <= limit) {
        return 0;
    }
    (void)err_say(err, -EMFILE,
                  "no room for %zu disks: they need %" PRIu64 " open files, and %" PRIu64
                  " are allowed",
                  count, need, limit);
    limits_hint(err);
    return -EMFILE;
}

int limits_check(const char *name, const char *what, struct err *err)
{
    uint64_t limit = fd_limit();
    uint64_t used = fds_in_use(limit);

    if (used + fds_spare(limit) < limit) {
        return 0;
    }
    (void)err_say(err, -EMFILE, "%s: no room for %s: %" PRIu64 " of %" PRIu64 " files are open",
                  name, what, used, limit);
    limits_hint(err);
    return -EMFILE;
}

void limits_hint(struct err *err)
{
    if (!err) {
        return;
    }
    if (err->code == -EMFILE) {
        err_hint(err, "raise the limit of open files of vblkd (LimitNOFILE= in its systemd unit, "
                      "or ulimit -n) and restart it");
    } else if (err->code == -ENFILE) {
        err_hint(err, "raise fs.file-max with sysctl");
    }
}
