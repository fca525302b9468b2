/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/holder.h"
#include "core/base/log.h"
#include "core/base/names.h"

#define MOMENT_MS 10
#define MOMENTS 20u

bool file_lock_again(unsigned *tries)
{
    const struct timespec moment = {.tv_nsec = MOMENT_MS * NS_PER_MS};

    if (*tries == MOMENTS) {
        return false;
    }
    ++*tries;
    (void)nanosleep(&moment, NULL);
    return true;
}

static int try_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

int file_lock(int fd)
{
    unsigned tries = 0;
    int ret = try_lock(fd);

    while (ret == -EWOULDBLOCK && file_lock_again(&tries)) {
        ret = try_lock(fd);
    }
    return ret;
}

/* Shared, and for no time: who comes for it is patient. */
static bool is_locked(int fd)
{
    bool is_free = flock(fd, LOCK_SH | LOCK_NB) == 0;

    if (is_free) {
        (void)flock(fd, LOCK_UN);
    }
    return !is_free && errno == EWOULDBLOCK;
}

static bool is_held_by_dying(int fd, struct holder *holder)
{
    static const struct lock_span any = {.len = 0};

    return is_locked(fd) && holder_find(fd, &any, holder) && holder->is_dying;
}

static int await_dying(int fd, const char *path, const char *what, bool (*must_end)(void))
{
    struct holder holder;
    char text[HOLDER_BYTES];
    uint64_t begun_ns = now_ns();

    if (!is_held_by_dying(fd, &holder)) {
        return 0;
    }
    holder_say(&holder, text);
    log_warn("%s: waits for %s, which is ending, and has I/O under way (%s)", what, text, path);
    do {
        for (unsigned tries = 0; is_locked(fd) && file_lock_again(&tries);) {
            if (must_end()) {
                return -ECANCELED;
            }
        }
    } while (is_held_by_dying(fd, &holder));
    log_info("%s: what it waited for has ended, after %.1f s", what,
             (double)(now_ns() - begun_ns) / NS_PER_S);
    return 0;
}

int file_lock_await(const char *path, const char *what, bool (*must_end)(void))
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    int fd = open(path, flags);
    int ret;

    if (fd < 0 && errno == EACCES) {
        fd = names_open(path, flags, 0);
    }
    if (fd < 0) {
        return 0;
    }
    ret = await_dying(fd, path, what, must_end);
    close(fd);
    return ret;
}
