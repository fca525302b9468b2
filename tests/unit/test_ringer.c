/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/ringer.h"
#include "core/base/thread.h"

#define FULL (UINT64_MAX - 1)

/* A thread that makes one call and tells how it ended. */
struct caller {
    pthread_t thread;
    struct ringer ringer;
    int fd;
    bool reads;
    long result;
    _Atomic bool is_done;
};

static void *run(void *arg)
{
    struct caller *c = arg;

    ringer_start(&c->ringer);
    c->result = c->reads ? ringer_read(c->fd) : ringer_signal(c->fd);
    ringer_stop(&c->ringer);
    atomic_store(&c->is_done, true);
    return NULL;
}

static void start(struct caller *c, int fd, bool reads)
{
    *c = (struct caller){.fd = fd, .reads = reads};
    ringers_install();
    assert_int_equal(thread_start(&c->thread, run, c), 0); /* as a disk's: signals are blocked */
}

/* Returns how many times it had to be looked. */
static unsigned watch_until_done(struct caller *c)
{
    unsigned looks = 0;

    while (!atomic_load(&c->is_done)) {
        assert_true(looks < 1000);
        (void)ringers_watch();
        looks++;
        (void)poll(NULL, 0, 10);
    }
    assert_int_equal(pthread_join(c->thread, NULL), 0);
    return looks;
}

static void signal_that_would_wait_is_ended(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC); /* without EFD_NONBLOCK */
    struct caller c;

    (void)state;
    assert_int_equal(eventfd_write(fd, FULL), 0);
    start(&c, fd, false);
    assert_true(watch_until_done(&c) > 1);
    assert_false(c.result);
    close(fd);
}

/* As a pipe that a state goes through. */
static void *write_to_pipe(void *arg)
{
    struct caller *c = arg;
    static const char much[4096];

    ringer_start(&c->ringer);
    do {
        c->result = ringer_write(c->fd, much, sizeof(much));
    } while (c->result > 0);
    ringer_stop(&c->ringer);
    atomic_store(&c->is_done, true);
    return NULL;
}

static void write_that_would_wait_is_ended(void **state)
{
    struct caller c = {0};
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    c.fd = fds[1];
    ringers_install();
    assert_int_equal(thread_start(&c.thread, write_to_pipe, &c), 0);
    assert_true(watch_until_done(&c) > 1);
    assert_int_equal(c.result, -EINTR);
    close(fds[0]);
    close(fds[1]);
}

static void read_that_would_wait_is_ended(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    struct caller c;

    (void)state;
    start(&c, fd, true);
    assert_true(watch_until_done(&c) > 1);
    assert_int_equal(c.result, -EINTR);
    close(fd);
}

static void full_counter_that_does_not_block_is_a_signal(void **state)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct ringer ringer;

    (void)state;
    ringer_start(&ringer);
    assert_true(ringer_signal(fd));
    assert_int_equal(ringer_read(fd), sizeof(uint64_t));
    assert_int_equal(ringer_read(fd), -EAGAIN);
    assert_int_equal(eventfd_write(fd, FULL), 0);
    assert_true(ringer_signal(fd));
    assert_true(ringer_signal(-1));
    assert_int_equal(ringers_watch(), 0);
    assert_int_equal(ringers_watch(), 0);
    ringer_stop(&ringer);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signal_that_would_wait_is_ended),
        cmocka_unit_test(read_that_would_wait_is_ended),
        cmocka_unit_test(write_that_would_wait_is_ended),
        cmocka_unit_test(full_counter_that_does_not_block_is_a_signal),
    };

    return unit_run(tests);
}
