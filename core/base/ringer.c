/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* tgkill */
#include "core/base/ringer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* Ignored unless it is caught, and blocked on all threads but those that ring. */
#define WAKE SIGURG

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ringer *ringers;
static _Thread_local struct ringer *own;

static void on_wake(int number)
{
    /* That the system call ends is all. */
}

void ringers_install(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_wake; /* without SA_RESTART */
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(WAKE, &action, NULL); /* good values: it cannot fail */
}

void ringer_start(struct ringer *ringer)
{
    sigset_t wake;

    (void)sigemptyset(&wake);
    (void)sigaddset(&wake, WAKE);
    (void)pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    ringer->tid = gettid();
    ringer->seen = 0;
    atomic_init(&ringer->calls, 0);
    own = ringer;
    (void)pthread_mutex_lock(&lock);
    ringer->next = ringers;
    ringers = ringer;
    (void)pthread_mutex_unlock(&lock);
}

void ringer_stop(struct ringer *ringer)
{
    struct ringer **at = &ringers;

    (void)pthread_mutex_lock(&lock);
    while (*at && *at != ringer) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = ringer->next;
    }
    (void)pthread_mutex_unlock(&lock);
    own = NULL;
}

static void count_call(void)
{
    if (own) {
        unsigned now = atomic_load_explicit(&own->calls, memory_order_relaxed);

        atomic_store_explicit(&own->calls, now + 1, memory_order_relaxed);
    }
}

/* Any error but that one is fine: -EAGAIN, say, is a counter that is full, and so a signal. */
bool ringer_signal(int fd)
{
    const uint64_t one = 1;
    bool is_ended;

    if (fd < 0) {
        return true;
    }
    count_call();
    is_ended = write(fd, &one, sizeof(one)) < 0 && errno == EINTR;
    count_call();
    return !is_ended;
}

ssize_t ringer_take(int fd, void *to, size_t len)
{
    ssize_t got;

    count_call();
    got = read(fd, to, len);
    got = got < 0 ? -errno : got;
    count_call();
    return got;
}

ssize_t ringer_write(int fd, const void *from, size_t len)
{
    ssize_t sent;

    count_call();
    sent = write(fd, from, len);
    sent = sent < 0 ? -errno : sent;
    count_call();
    return sent;
}

ssize_t ringer_read(int fd)
{
    uint64_t kicks;

    return ringer_take(fd, &kicks, sizeof(kicks));
}

/* One that does not wait any more when the signal comes goes on as if nothing were. */
unsigned ringers_watch(void)
{
    unsigned ended = 0;

    (void)pthread_mutex_lock(&lock);
    for (struct ringer *ringer = ringers; ringer; ringer = ringer->next) {
        unsigned now = atomic_load_explicit(&ringer->calls, memory_order_relaxed);

        if ((now & 1) && now == ringer->seen) {
            (void)tgkill(getpid(), ringer->tid, WAKE);
            ended++;
        }
        ringer->seen = now;
    }
    (void)pthread_mutex_unlock(&lock);
    return ended;
}
