/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/delay.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

int delay_open(struct delay *delay)
{
    io_list_init(&delay->waiting);
    delay->is_armed = true;
    delay->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return delay->timer_fd < 0 ? -errno : 0;
}

void delay_close(struct delay *delay)
{
    close(delay->timer_fd);
}

/* Mostly all wait for as long, and the place is the end. */
static struct io **place_of(struct delay *delay, uint64_t due_ns)
{
    struct io **at = &delay->waiting.first;

    if (*at && delayed_of(containerof(delay->waiting.last, struct io, next))->due_ns <= due_ns) {
        return delay->waiting.last;
    }
    while (*at && delayed_of(*at)->due_ns <= due_ns) {
        at = &(*at)->next;
    }
    return at;
}

void delay_add(struct delay *delay, struct io *io, uint64_t due_ns, int64_t result)
{
    struct io **at = place_of(delay, due_ns);

    *delayed_of(io) = (struct delayed){.due_ns = due_ns, .result = result};
    io->next = *at;
    *at = io;
    if (!io->next) {
        delay->waiting.last = &io->next;
    }
    if (at == &delay->waiting.first) {
        delay->is_armed = false;
    }
}

void delay_arm(struct delay *delay)
{
    uint64_t due = delay->waiting.first ? delayed_of(delay->waiting.first)->due_ns : 0;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(due / NS_PER_S), .tv_nsec = (long)(due % NS_PER_S)},
    };

    if (!delay->is_armed) {
        timerfd_settime(delay->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
        delay->is_armed = true;
    }
}

struct io *delay_take(struct delay *delay, uint64_t now_ns)
{
    struct io *first = delay->waiting.first;

    if (!first || delayed_of(first)->due_ns > now_ns) {
        return NULL;
    }
    delay->is_armed = false;
    return io_list_take(&delay->waiting);
}
