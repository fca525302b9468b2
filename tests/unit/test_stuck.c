/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/stuck.h"

/* A thread that waits where it is told to. */
struct sleeper {
    pthread_t thread;
    _Atomic pid_t tid;
    int fd;
    pthread_mutex_t mutex;
};

static void *read_one(void *arg)
{
    struct sleeper *sleeper = arg;
    uint64_t value;

    atomic_store(&sleeper->tid, gettid());
    assert_int_equal(read(sleeper->fd, &value, sizeof(value)), sizeof(value));
    return NULL;
}

static void *run_on(void *arg)
{
    struct sleeper *sleeper = arg;

    atomic_store(&sleeper->tid, gettid());
    while (atomic_load(&sleeper->tid) != 0) {
    }
    return NULL;
}

/* Returns when it is said of the thread, in 10 s at most. */
static void assert_said(struct sleeper *sleeper, const char *image, const char *expected)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    char text[STUCK_BYTES] = "";

    for (unsigned i = 0; i < 10000 && !strstr(text, expected); i++) {
        pid_t tid = atomic_load(&sleeper->tid);

        if (tid > 0) {
            stuck_on(tid, image, text);
        }
        (void)nanosleep(&moment, NULL);
    }
    if (!strstr(text, expected)) {
        fail_msg("\"%s\" was said, not \"%s\"", text, expected);
    }
}

static void assert_reader(int read_fd, int write_fd, const char *expected)
{
    struct sleeper sleeper = {.fd = read_fd};
    const uint64_t one = 1;

    assert_int_equal(pthread_create(&sleeper.thread, NULL, read_one, &sleeper), 0);
    assert_said(&sleeper, "/images/a.img", expected);
    assert_int_equal(write(write_fd, &one, sizeof(one)), sizeof(one));
    assert_int_equal(pthread_join(sleeper.thread, NULL), 0);
}

static void a_file_of_the_front_end_is_told_as_such(void **state)
{
    int ends[2];
    int event = eventfd(0, EFD_CLOEXEC);

    assert_true(event >= 0);
    assert_int_equal(pipe(ends), 0);
    assert_reader(ends[0], ends[1], "waits in read on pipe:[");
    assert_reader(ends[0], ends[1], "], which its front-end may hold up");
    assert_reader(event, event,
                  "waits in read on anon_inode:[eventfd], which its front-end may hold up");
    close(ends[0]);
    close(ends[1]);
    close(event);
}

static void a_thread_that_runs_waits_for_nothing(void **state)
{
    struct sleeper sleeper = {.fd = -1};

    assert_int_equal(pthread_create(&sleeper.thread, NULL, run_on, &sleeper), 0);
    assert_said(&sleeper, "/images/a.img", "runs without coming to it");
    atomic_store(&sleeper.tid, 0);
    assert_int_equal(pthread_join(sleeper.thread, NULL), 0);
}

static void *take_lock(void *arg)
{
    struct sleeper *sleeper = arg;

    atomic_store(&sleeper->tid, gettid());
    assert_int_equal(pthread_mutex_lock(&sleeper->mutex), 0);
    assert_int_equal(pthread_mutex_unlock(&sleeper->mutex), 0);
    return NULL;
}

static void a_call_without_a_file_is_most_likely_for_the_image(void **state)
{
    struct sleeper sleeper = {.fd = -1, .mutex = PTHREAD_MUTEX_INITIALIZER};

    assert_int_equal(pthread_mutex_lock(&sleeper.mutex), 0);
    assert_int_equal(pthread_create(&sleeper.thread, NULL, take_lock, &sleeper), 0);
    assert_said(&sleeper, "/images/a.img", "waits in futex, most likely for /images/a.img");
    assert_said(&sleeper, "", "waits in futex");
    assert_int_equal(pthread_mutex_unlock(&sleeper.mutex), 0);
    assert_int_equal(pthread_join(sleeper.thread, NULL), 0);
}

static void a_thread_that_is_not_there_leaves_the_image(void **state)
{
    char text[STUCK_BYTES];

    stuck_on(-1, "/images/a.img", text);
    assert_string_equal(text, "may wait for /images/a.img");
}

static void the_sentence_has_disk_and_thread(void **state)
{
    struct err err = {0};
    char expected[64];

    assert_int_equal(stuck_refuse("vda", gettid(), "/images/a.img", &err), -ETIMEDOUT);
    (void)snprintf(expected, sizeof(expected), "(state R in /proc/%d/task/%d)", (int)getpid(),
                   (int)gettid());
    assert_non_null(strstr(err.text, expected));
    assert_int_equal(strncmp(err.text, "vda: the disk's thread does not answer; it ", 43), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_the_front_end_is_told_as_such),
        cmocka_unit_test(a_thread_that_runs_waits_for_nothing),
        cmocka_unit_test(a_call_without_a_file_is_most_likely_for_the_image),
        cmocka_unit_test(a_thread_that_is_not_there_leaves_the_image),
        cmocka_unit_test(the_sentence_has_disk_and_thread),
    };

    return unit_run(tests);
}
