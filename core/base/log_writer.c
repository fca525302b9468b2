/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/log_writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/thread.h"

/* Some thousand lines.  Memory that no burst has needed is never touched. */
#define RING_BYTES (512u << 10)

/* Once lines are lost, none is taken until so much is free: not one here and one there. */
#define ROOM_AGAIN (RING_BYTES / 2)

/* How long an abort waits for its last words, when somebody reads them. */
#define ABORT_WAIT_MS 200

enum writer_mode {
    WRITER_DIRECT, /* whoever logs also writes */
    WRITER_RUNS,
    WRITER_ENDS, /* what is there is written, no more is taken */
    WRITER_ENDED,
};

/*
 * All under `lock`, but for the ring's bytes that `thread` alone may take, and
 * is_written: stored under the lock, read by the handler of SIGABRT, which only waits for it.
 */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t has_work; /* for the thread */
    pthread_cond_t has_ended;
    pthread_t thread;
    enum writer_mode mode;
    log_writer_lost_fn *lost_line;
    unsigned lost; /* since there was no room */
    size_t first;
    size_t used;
    _Atomic bool is_written;
    char ring[RING_BYTES];
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER, .is_written = true};

/*
 * Returns 0, or -errno: the line is lost.  A description that somebody has made non-blocking is
 * waited for as well.
 */
static int write_line(const char *line, size_t len)
{
    struct pollfd pollfd = {.fd = STDERR_FILENO, .events = POLLOUT};

    while (len > 0) {
        ssize_t done = write(STDERR_FILENO, line, len);

        if (done >= 0) {
            line += done;
            len -= (size_t)done;
        } else if (errno == EAGAIN) {
            (void)poll(&pollfd, 1, -1); /* whatever it says, write tells more */
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* ---- the ring, under the lock ---- */

static void ring_put(const char *line, size_t len)
{
    size_t at = (writer.first + writer.used) % RING_BYTES;
    size_t before_wrap = min_of(len, RING_BYTES - at);

    memcpy(writer.ring + at, line, before_wrap);
    memcpy(writer.ring, line + before_wrap, len - before_wrap);
    writer.used += len;
}

/* The oldest line, up to its line feed.  Returns its length, 0: there is none. */
static size_t ring_take(char line[LOG_LINE_BYTES])
{
    size_t len = 0;

    while (len < writer.used && (len == 0 || line[len - 1] != '\n')) {
        line[len] = writer.ring[(writer.first + len) % RING_BYTES];
        len++;
    }
    writer.used -= len;
    writer.first = writer.used > 0 ? (writer.first + len) % RING_BYTES : 0;
    return len;
}

static void put_lost(void)
{
    char line[LOG_LINE_BYTES];
    size_t len;

    if (writer.lost > 0) {
        len = writer.lost_line(line, writer.lost, "nobody reads the log");
        ring_put(line, len);
        writer.lost = 0;
    }
}

static bool has_room(size_t len)
{
    size_t room = RING_BYTES - writer.used;

    return room >= (writer.lost > 0 ? ROOM_AGAIN : len);
}

void log_writer_put(const char *line, size_t len)
{
    enum writer_mode mode;

    (void)pthread_mutex_lock(&writer.lock);
    mode = writer.mode;
    if (mode == WRITER_RUNS && has_room(len)) {
        put_lost();
        ring_put(line, len);
        atomic_store_explicit(&writer.is_written, false, memory_order_relaxed);
        (void)pthread_cond_signal(&writer.has_work);
    } else if (mode == WRITER_RUNS) {
        writer.lost++;
    }
    (void)pthread_mutex_unlock(&writer.lock);
    if (mode == WRITER_DIRECT) {
        (void)write_line(line, len); /* nobody listens: there is nowhere left to say it */
    }
}

/* ---- the thread ---- */

/* The next line, also the one about those that were lost when it is time for that.  0: none. */
static size_t take_line(char line[LOG_LINE_BYTES])
{
    if (writer.used == 0) {
        put_lost();
    }
    return ring_take(line);
}

/* Returns how many lines in a row could not be written, `line` included. */
static unsigned write_after(unsigned failed, const char *line, size_t len)
{
    char about[LOG_LINE_BYTES];
    int ret = 0;

    if (failed > 0) {
        size_t about_len = writer.lost_line(about, failed, "they could not be written");

        ret = write_line(about, about_len);
    }
    if (ret < 0) {
        return failed + 1;
    }
    return write_line(line, len) < 0 ? 1 : 0;
}

static void *run_writer(void *arg)
{
    char line[LOG_LINE_BYTES];
    unsigned failed = 0;
    size_t len;

    thread_set_name("log");
    (void)pthread_mutex_lock(&writer.lock);
    while ((len = take_line(line)) > 0 || writer.mode == WRITER_RUNS) {
        if (len > 0) {
            (void)pthread_mutex_unlock(&writer.lock);
            failed = write_after(failed, line, len);
            (void)pthread_mutex_lock(&writer.lock);
        } else {
            atomic_store_explicit(&writer.is_written, true, memory_order_relaxed);
            (void)pthread_cond_wait(&writer.has_work, &writer.lock);
        }
    }
    writer.mode = WRITER_ENDED;
    atomic_store_explicit(&writer.is_written, true, memory_order_relaxed);
    (void)pthread_cond_broadcast(&writer.has_ended);
    (void)pthread_mutex_unlock(&writer.lock);
    return NULL;
}

/* ---- begin and end ---- */

/*
 * What led to an abort is most likely in the last lines.  Nothing but the other thread's work is
 * waited for, and not for long: what has been found broken must not go on.  Then the signal comes
 * again, from the same place, and ends the process as if there were no handler.
 */
static void on_abort(int number)
{
    const struct timespec step = {.tv_nsec = NS_PER_MS};

    for (unsigned i = 0;
         i < ABORT_WAIT_MS && !atomic_load_explicit(&writer.is_written, memory_order_relaxed);
         i++) {
        (void)nanosleep(&step, NULL); /* less is as good */
    }
    (void)raise(number);
}

static void install_on_abort(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_abort;
    action.sa_flags = (int)SA_RESETHAND;
    (void)sigaction(SIGABRT, &action, NULL); /* cannot fail with these arguments */
}

int log_writer_start(log_writer_lost_fn *lost_line, struct err *err)
{
    pthread_condattr_t attr;
    int ret;

    /* None of the four fails on Linux. */
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&writer.has_work, NULL);
    (void)pthread_cond_init(&writer.has_ended, &attr);
    writer.lost_line = lost_line;
    writer.mode = WRITER_RUNS;
    ret = thread_start(&writer.thread, run_writer, NULL);
    if (ret < 0) {
        writer.mode = WRITER_DIRECT;
        (void)err_set(err, ret, "cannot start the thread of the log");
        thread_hint(err);
        return ret;
    }
    install_on_abort();
    return 0;
}

/* Under the lock. */
static bool wait_ended(unsigned timeout_ms)
{
    struct timespec until;
    uint64_t until_ns = now_ns() + timeout_ms * NS_PER_MS;
    int ret = 0;

    until.tv_sec = (time_t)(until_ns / NS_PER_S);
    until.tv_nsec = (long)(until_ns % NS_PER_S);
    while (writer.mode != WRITER_ENDED && ret == 0) {
        ret = pthread_cond_timedwait(&writer.has_ended, &writer.lock, &until);
    }
    return writer.mode == WRITER_ENDED;
}

bool log_writer_stop(unsigned timeout_ms)
{
    bool was_running;
    bool has_ended;

    (void)pthread_mutex_lock(&writer.lock);
    was_running = writer.mode == WRITER_RUNS;
    if (was_running) {
        writer.mode = WRITER_ENDS;
        (void)pthread_cond_signal(&writer.has_work);
    }
    has_ended = writer.mode == WRITER_DIRECT || wait_ended(timeout_ms);
    (void)pthread_mutex_unlock(&writer.lock);
    if (was_running && has_ended) {
        (void)pthread_join(writer.thread, NULL); /* it has nothing left to do */
    }
    return has_ended;
}
