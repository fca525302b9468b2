/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/glance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/thread.h"

/* Of all glances: `is_back`, `is_late`, and the list of those that are late. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct glance *late;

static void forget_glance(struct glance *glance)
{
    struct glance **link = &late;

    while (*link != glance) {
        link = &(*link)->next;
    }
    *link = glance->next;
}

static void release_glance(struct glance *glance)
{
    pthread_cond_destroy(&glance->is_back_cond);
    free(glance);
}

static void *look_at_path(void *arg)
{
    struct glance *glance = arg;
    bool is_late;

    thread_set_name("glance");
    glance->run(glance);
    pthread_mutex_lock(&mutex);
    glance->is_back = true;
    is_late = glance->is_late;
    if (is_late) {
        forget_glance(glance);
    } else {
        pthread_cond_signal(&glance->is_back_cond);
    }
    pthread_mutex_unlock(&mutex);
    if (is_late) {
        release_glance(glance);
    }
    return NULL;
}

static bool is_awaited(const char *what)
{
    const struct glance *glance;

    pthread_mutex_lock(&mutex);
    for (glance = late; glance && strcmp(glance->what, what) != 0; glance = glance->next) {
    }
    pthread_mutex_unlock(&mutex);
    return glance != NULL;
}

static void init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr); /* none of these can fail on Linux */
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}

/* Returns false when it is late from here on: then it is its thread's. */
static bool await_glance(struct glance *glance, unsigned timeout_ms)
{
    uint64_t end_ns = now_ns() + timeout_ms * NS_PER_MS;
    struct timespec end = {.tv_sec = (time_t)(end_ns / NS_PER_S),
                           .tv_nsec = (long)(end_ns % NS_PER_S)};
    bool is_back;
    int ret = 0;

    pthread_mutex_lock(&mutex);
    while (!glance->is_back && ret == 0) {
        ret = pthread_cond_timedwait(&glance->is_back_cond, &mutex, &end);
    }
    is_back = glance->is_back;
    if (!is_back) {
        (void)pthread_detach(glance->thread);
        glance->is_late = true;
        glance->next = late;
        late = glance;
    }
    pthread_mutex_unlock(&mutex);
    return is_back;
}

int glance_take(struct glance *glance, unsigned timeout_ms)
{
    int ret;

    if (is_awaited(glance->what)) {
        free(glance);
        return -ETIMEDOUT;
    }
    glance->is_back = false;
    glance->is_late = false;
    init_cond(&glance->is_back_cond);
    ret = thread_start(&glance->thread, look_at_path, glance);
    if (ret == 0 && !await_glance(glance, timeout_ms)) {
        return -ETIMEDOUT;
    }
    if (ret == 0) {
        (void)pthread_join(glance->thread, NULL);
    }
    pthread_cond_destroy(&glance->is_back_cond);
    return ret;
}
