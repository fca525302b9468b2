/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What is handed to another process comes back from its text as it was, and what is no such text is
 * refused.
 */

#define _GNU_SOURCE 1
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "daemon/given_json.h"

struct world {
    struct plane_given sent;
    struct plane_given got;
    struct parcel parcel;
    struct given_fds fds;
    struct vu_given_msg msg[2];
};

static int any_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void fill_message(struct vu_given_msg *msg, uint32_t request, int fd)
{
    *msg = (struct vu_given_msg){
        .header = {.request = request, .flags = VHOST_USER_VERSION, .size = 8}, .fd = fd};
    memset(msg->payload, 0xa5, 8);
}

static int start(void **state)
{
    static struct world w;
    struct plane_given *given = &w.sent;

    memset(&w, 0, sizeof(w));
    plane_given_init(given);
    (void)snprintf(given->name, sizeof(given->name), "vda");
    (void)snprintf(given->reason, sizeof(given->reason), "it \"failed\"");
    given->state = PLANE_FAILED;
    given->retries = true;
    given->paused_ns = UINT64_MAX - 7;
    given->stats.type[STATS_WRITE].bytes = 1ull << 63;
    given->stats.freed = 3;
    given->image = (struct image_given){.fd = any_fd(),
                                        .is_held = true,
                                        .claim = {any_fd(), any_fd()},
                                        .claims = 2,
                                        .witness = -1,
                                        .had_name = true,
                                        .loss = {.code = -EIO, .op = IO_FLUSH, .time_s = 9}};
    given->vu.listener.fd = any_fd();
    given->vu.listener.lock_fd = any_fd();
    given->vu.listener.ino = 12345;
    given->vu.listener.rights.mode = 0660;
    (void)snprintf(given->vu.listener.path, sizeof(given->vu.listener.path), "/run/vblk/vda.sock");
    given->vu.fd = any_fd();
    given->vu.read_capacity = UINT64_MAX;
    given->vu.has_started = BIT(63) | 1;
    given->vu.is_vouched = true;
    fill_message(&w.msg[0], VHOST_USER_SET_FEATURES, -1);
    fill_message(&w.msg[1], VHOST_USER_SET_VRING_KICK, any_fd());
    given->vu.msg = w.msg;
    given->vu.count = 2;
    given->vu.have = 14;
    memset(given->vu.bytes, 0x5a, given->vu.have);
    given->vu.fd_count = 1;
    given->vu.fds[0] = any_fd();
    w.fds.parcel = &w.parcel;
    *state = &w;
    return 0;
}

static int stop(void **state)
{
    struct world *w = *state;

    plane_given_fini(&w->got, true);
    parcel_fini(&w->parcel); /* the rest of the descriptors */
    return 0;
}

static void a_disk_comes_back_as_it_was(void **state)
{
    struct world *w = *state;
    json_t *json = given_disk(&w->fds, &w->sent);

    assert_non_null(json);
    assert_int_equal(w->parcel.fd_count, 8);
    assert_int_equal(given_read_disk(&w->parcel, json, &w->got), 0);
    json_decref(json);
    assert_string_equal(w->got.name, "vda");
    assert_string_equal(w->got.reason, w->sent.reason);
    assert_int_equal(w->got.state, PLANE_FAILED);
    assert_true(w->got.retries);
    assert_false(w->got.is_transient);
    assert_true(w->got.paused_ns == w->sent.paused_ns);
    assert_memory_equal(&w->got.stats, &w->sent.stats, sizeof(w->got.stats));
    assert_int_equal(w->got.image.fd, w->sent.image.fd);
    assert_int_equal(w->got.image.claims, 2);
    assert_int_equal(w->got.image.claim[1], w->sent.image.claim[1]);
    assert_int_equal(w->got.image.witness, -1);
    assert_int_equal(w->got.image.loss.code, -EIO);
    assert_true(w->got.image.is_held && w->got.image.had_name);
    assert_int_equal(w->got.vu.listener.lock_fd, w->sent.vu.listener.lock_fd);
    assert_int_equal(w->got.vu.listener.ino, 12345);
    assert_int_equal(w->got.vu.listener.rights.mode, 0660);
    assert_string_equal(w->got.vu.listener.path, "/run/vblk/vda.sock");
    assert_true(w->got.vu.read_capacity == UINT64_MAX);
    assert_true(w->got.vu.has_started == w->sent.vu.has_started);
    assert_true(w->got.vu.is_vouched && !w->got.vu.is_in_doubt);
    assert_int_equal(w->got.vu.count, 2);
    assert_memory_equal(w->got.vu.msg, w->msg, sizeof(w->msg));
    assert_int_equal(w->got.vu.have, 14);
    assert_memory_equal(w->got.vu.bytes, w->sent.vu.bytes, 14);
    assert_int_equal(w->got.vu.fds[0], w->sent.vu.fds[0]);
}

static void each_descriptor_is_taken_once(void **state)
{
    struct world *w = *state;
    json_t *json = given_disk(&w->fds, &w->sent);
    struct plane_given again;

    assert_int_equal(given_read_disk(&w->parcel, json, &w->got), 0);
    assert_int_equal(given_read_disk(&w->parcel, json, &again), 0);
    assert_int_equal(again.image.fd, -1);
    assert_int_equal(again.vu.fd, -1);
    plane_given_fini(&again, true);
    json_decref(json);
}

static void expect_refused(struct world *w, const char *member, json_t *value)
{
    json_t *json = given_disk(&w->fds, &w->sent);
    struct plane_given got;

    if (value) {
        (void)json_object_set_new(json, member, value);
    } else {
        (void)json_object_del(json, member);
    }
    assert_int_equal(given_read_disk(&w->parcel, json, &got), -EPROTO);
    plane_given_fini(&got, true);
    json_decref(json);
    for (unsigned i = 0; i < w->parcel.fd_count; i++) {
        w->parcel.fd[i] = -1; /* closed, and given anew */
    }
    w->parcel.fd_count = 0;
}

static void what_lacks_a_member_is_refused(void **state)
{
    struct world *w = *state;

    expect_refused(w, "state", json_string("flying"));
    expect_refused(w, "state", NULL);
    expect_refused(w, "image", json_object());
    expect_refused(w, "stats", json_array());
    expect_refused(w, "connection", json_null());
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(a_disk_comes_back_as_it_was),
        in_world(each_descriptor_is_taken_once),
        in_world(what_lacks_a_member_is_refused),
    };

    return unit_run(tests);
}
