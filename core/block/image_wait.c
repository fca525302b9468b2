/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "core/base/file_lock.h"
#include "core/base/log.h"
#include "core/block/image_holder.h"

/* So often who has it is looked for at each turn of patience, then at each second. */
#define QUICK_LOOKS 5u
#define SLOW_MS 40

static pthread_mutex_t wait_texts = PTHREAD_MUTEX_INITIALIZER; /* of each image_progress */

static void set_text(struct image_progress *progress, const char *text)
{
    if (progress) {
        pthread_mutex_lock(&wait_texts);
        (void)snprintf(progress->waits_for, sizeof(progress->waits_for), "%s", text);
        pthread_mutex_unlock(&wait_texts);
    }
}

bool image_wait_text(struct image_progress *progress, char text[IMAGE_WAIT_BYTES])
{
    pthread_mutex_lock(&wait_texts);
    (void)snprintf(text, IMAGE_WAIT_BYTES, "%s", progress->waits_for);
    pthread_mutex_unlock(&wait_texts);
    return text[0] != '\0';
}

/* Once to the log, and whoever asks what it is now. */
static void tell_wait(struct image_wait *wait)
{
    char holder[HOLDER_BYTES];
    char text[IMAGE_WAIT_BYTES] = "I/O of a process that has gone";

    if (wait->is_seen) {
        image_holder_say(&wait->holder, holder);
        (void)snprintf(text, sizeof(text), "I/O of %s, which is ending", holder);
    }
    set_text(wait->progress, text);
    if (!wait->begun_ns) {
        wait->begun_ns = now_ns();
        log_warn("%s: waits for %s, and opens its image after that (%s)",
                 wait->owner ? wait->owner : "image", text, wait->image);
    }
}

/* Who has gone by now may have let go of it since it was tried: that is to be tried once more. */
static bool may_wait(struct image_wait *wait)
{
    if (wait->is_seen) {
        wait->misses = 0;
        return wait->holder.is_dying;
    }
    return wait->outlives || (wait->begun_ns && wait->misses++ == 0);
}

static void nap_longer(const struct image_wait *wait)
{
    const struct timespec more = {.tv_nsec = SLOW_MS * NS_PER_MS};

    if (wait->looks > QUICK_LOOKS) {
        (void)nanosleep(&more, NULL);
    }
}

int image_wait_again(struct image_wait *wait, int fd, const struct lock_span *span)
{
    if (wait->progress && atomic_load(&wait->progress->is_unwanted)) {
        return -ECANCELED;
    }
    nap_longer(wait);
    if (file_lock_again(&wait->tries)) {
        return 0;
    }
    wait->is_seen = holder_find(fd, span, &wait->holder);
    wait->looks++;
    if (!may_wait(wait)) {
        return -EBUSY;
    }
    tell_wait(wait);
    wait->tries = 0;
    return 0;
}

void image_wait_end(struct image_wait *wait, bool is_over)
{
    set_text(wait->progress, "");
    if (wait->begun_ns && is_over) {
        log_info("%s: what it waited for has ended, after %.1f s",
                 wait->owner ? wait->owner : "image",
                 (double)(now_ns() - wait->begun_ns) / NS_PER_S);
    }
}
