/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/parcel.h"

#define PATIENCE_MS 20000u
#define MANY_FDS 600u
#define MANY_BYTES (3u << 20)

struct world {
    int pair[2];
    struct parcel sent;
    struct parcel got;
};

static int world_start(void **state)
{
    static struct world world;

    memset(&world, 0, sizeof(world));
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, world.pair) == 0);
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *world = *state;

    parcel_fini(&world->sent);
    parcel_fini(&world->got);
    close(world->pair[0]);
    close(world->pair[1]);
    return 0;
}

/* Files of different lengths, so that each is known again. */
static void fill(struct parcel *parcel, unsigned fds, size_t bytes)
{
    parcel->fd = calloc(fds + 1, sizeof(int));
    parcel->text = malloc(bytes + 1);
    assert(parcel->fd && parcel->text);
    for (unsigned i = 0; i < fds; i++) {
        parcel->fd[i] = memfd_create("part", MFD_CLOEXEC);
        assert(parcel->fd[i] >= 0 && ftruncate(parcel->fd[i], i + 1) == 0);
    }
    memset(parcel->text, 'x', bytes);
    parcel->fd_count = fds;
    parcel->bytes = bytes;
}

static void *send_all(void *arg)
{
    const struct world *world = arg;

    assert(parcel_send(world->pair[0], &world->sent, PATIENCE_MS) == 0);
    return NULL;
}

static void more_than_a_message_or_a_socket_holds_arrives_in_order(void **state)
{
    struct world *w = *state;
    pthread_t sender;
    struct stat st;

    fill(&w->sent, MANY_FDS, MANY_BYTES);
    assert(pthread_create(&sender, NULL, send_all, w) == 0);
    assert_int_equal(parcel_receive(w->pair[1], &w->got, PATIENCE_MS), 0);
    assert(pthread_join(sender, NULL) == 0);
    assert_int_equal(w->got.bytes, MANY_BYTES);
    assert_int_equal(strlen(w->got.text), MANY_BYTES);
    assert_int_equal(w->got.fd_count, MANY_FDS);
    for (unsigned i = 0; i < MANY_FDS; i++) {
        assert_int_equal(fstat(w->got.fd[i], &st), 0);
        assert_int_equal(st.st_size, i + 1);
        assert_true(fcntl(w->got.fd[i], F_GETFD) & FD_CLOEXEC);
    }
}

static void what_is_taken_is_taken_once(void **state)
{
    struct world *w = *state;
    int fd;

    fill(&w->sent, 2, 3);
    assert_int_equal(parcel_send(w->pair[0], &w->sent, PATIENCE_MS), 0);
    assert_int_equal(parcel_receive(w->pair[1], &w->got, PATIENCE_MS), 0);
    fd = parcel_take(&w->got, 1);
    assert_true(fd >= 0);
    assert_int_equal(parcel_take(&w->got, 1), -1);
    assert_int_equal(parcel_take(&w->got, 2), -1);
    close(fd);
}

static void a_sender_that_goes_leaves_nothing(void **state)
{
    struct world *w = *state;
    static const uint64_t head[] = {0x006c63706b6c6276, 100, 0}; /* "vblkpcl", little-endian */

    assert_int_equal(send(w->pair[0], head, sizeof(head), 0), sizeof(head));
    shutdown(w->pair[0], SHUT_WR);
    assert_int_equal(parcel_receive(w->pair[1], &w->got, PATIENCE_MS), -EPIPE);
    assert_null(w->got.text);
}

static void what_is_no_parcel_is_refused(void **state)
{
    struct world *w = *state;
    static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":null}\n";

    assert_int_equal(send(w->pair[0], text, sizeof(text), 0), sizeof(text));
    assert_int_equal(parcel_receive(w->pair[1], &w->got, PATIENCE_MS), -EPROTO);
}

static void nobody_waits_longer_than_asked(void **state)
{
    struct world *w = *state;

    fill(&w->sent, 0, MANY_BYTES);
    assert_int_equal(parcel_receive(w->pair[1], &w->got, 1), -ETIMEDOUT);
    assert_int_equal(parcel_send(w->pair[0], &w->sent, 1), -ETIMEDOUT);
    assert_int_equal(parcel_hear(w->pair[0], 1), -ETIMEDOUT);
}

static void words_go_both_ways(void **state)
{
    struct world *w = *state;

    assert_int_equal(parcel_say(w->pair[0], 'r', PATIENCE_MS), 0);
    assert_int_equal(parcel_hear(w->pair[1], PATIENCE_MS), 'r');
    shutdown(w->pair[1], SHUT_RDWR);
    assert_int_equal(parcel_hear(w->pair[0], PATIENCE_MS), -EPIPE);
    assert_int_equal(parcel_say(w->pair[0], 'c', PATIENCE_MS), -EPIPE);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(more_than_a_message_or_a_socket_holds_arrives_in_order),
        in_world(what_is_taken_is_taken_once),
        in_world(a_sender_that_goes_leaves_nothing),
        in_world(what_is_no_parcel_is_refused),
        in_world(nobody_waits_longer_than_asked),
        in_world(words_go_both_ways),
    };

    return unit_run(tests);
}
