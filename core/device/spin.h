/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How long a thread that has run out of work should look for more before it sleeps.  Sleep
 * costs two wake-ups a request, looking costs the core: so it looks only while work has
 * lately come sooner than `max_ns`, about as long as that took, within its share of the
 * core, not while somebody else wants the core, and seldom when it did not help.
 *
 * To fall asleep and be woken takes a few microseconds itself.  A guest that has lately sent
 * more within less is waited for that long, whatever `max_ns` is.
 *
 * Part of a lane; its thread only.  All times are nanoseconds, of one monotonic clock.
 */

#include "core/base/base.h"

/* Whom it waits for.  They have nothing to do with each other, so it learns of each alone. */
enum spin_for {
    SPIN_FOR_GUEST, /* nothing is in flight */
    SPIN_FOR_IMAGE, /* or for the guest, should that be faster */
    SPIN_FOR_COUNT,
};

/* What a spin has come to. */
enum spin_result {
    SPIN_MISS,
    SPIN_HIT,
    SPIN_MAIL, /* a message has ended it, of which is not known yet whether it brings work */
};

struct spin_history {
    uint64_t expect_ns; /* how long work was in coming: moving average */
    unsigned misses;    /* in a row */
    unsigned skip;      /* so many waits are slept through */
};

struct spin {
    uint64_t max_ns;      /* of one spin */
    unsigned cpu_percent; /* of the core, at most, 100: no limit */
    enum spin_for who;    /* this wait's */
    bool has_mail;        /* the last spin was ended by a message that has not run yet */
    uint64_t idle_ns;     /* since when there is no work, 0: there is */
    uint64_t start_ns;    /* of this spin */
    uint64_t end_ns;      /* of this spin, if nothing comes */
    uint64_t look_ns;     /* the last look in this spin */
    uint64_t credit_ns;   /* what may be spun until more is earned */
    uint64_t earned_ns;   /* when credit was last added up */
    uint64_t spun_ns;     /* in this window */
    uint64_t lost_ns;     /* of it, the core was somebody else's */
    uint64_t rest_ns;     /* how long to leave the core alone when it is wanted */
    uint64_t rest_end_ns; /* no spin before that */
    struct spin_history history[SPIN_FOR_COUNT];
};

/* `cpu_percent`: 1 to 100. */
void spin_init(struct spin *spin, uint64_t max_ns, unsigned cpu_percent);

/* There is no work.  Returns false when it is better to sleep at once. */
bool spin_begin(struct spin *spin, enum spin_for who, uint64_t now_ns);

/* Between two looks.  Returns false when it is time to sleep. */
bool spin_goes_on(struct spin *spin, uint64_t now_ns);

/* After spin_begin returned true.  Returns how long it was. */
uint64_t spin_end(struct spin *spin, uint64_t now_ns, enum spin_result result);

/* A message brings work.  Returns true when it has ended a spin, which was a hit, so. */
bool spin_confirm(struct spin *spin);

/* All messages that were there have run: what ended a spin and brought no work teaches nothing. */
static inline void spin_dismiss(struct spin *spin)
{
    spin->has_mail = false;
}

/* Work came, by a look or by a wake-up. */
void spin_work(struct spin *spin, uint64_t now_ns);

/* What ends this wait is nobody for whom it was: it teaches nothing. */
static inline void spin_interrupt(struct spin *spin)
{
    spin->idle_ns = 0;
}

/* One look is done: leave the core's other half alone for a moment. */
static inline void spin_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#else
    __asm__ __volatile__("" ::: "memory");
#endif
}
