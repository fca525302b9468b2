/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/driver/ring_driver.h"
#include "tests/lib/arena.h"
#include "tests/unit/fake_backend.h"
#include "tests/unit/fd_count.h"
#include "transports/client/vhost_user_client_state.h"

#define GUEST 0x100000ull
#define ARENA_BYTES 0x20000u
#define SIZE 16u

/* For an answer that comes, however busy the machine is; for one that does not; and for a ring. */
#define LONG_MS 60000u
#define SILENCE_MS 1000u
#define STOP_MS 100u

#define VERSION_1 (1ull << 32)
#define FLUSH (1ull << 9)
#define PROTOCOL (1ull << VHOST_F_PROTOCOL_FEATURES)

#define ALL_PROTOCOL                                                                \
    (1ull << VHOST_P_MQ | 1ull << VHOST_P_REPLY_ACK | 1ull << VHOST_P_BACKEND_REQ | \
     1ull << VHOST_P_CONFIG | 1ull << VHOST_P_CONFIGURE_MEM_SLOTS)

static const struct fake_opts good = {
    .features = VERSION_1 | FLUSH | PROTOCOL,
    .protocol_features = ALL_PROTOCOL | 1ull << 40,
    .capacity = 2048,
};

#define PACKED (1ull << 34)
#define INFLIGHT (1ull << VHOST_P_INFLIGHT_SHMFD)

static const struct fake_opts tracking = {
    .features = VERSION_1 | PACKED | PROTOCOL,
    .protocol_features = ALL_PROTOCOL | INFLIGHT,
    .inflight_fds = 1,
};

struct world {
    struct fake_backend fake;
    struct arena arena;
    struct ring_driver drv;
    struct vhost_user_client_ring ring;
    struct vhost_user_client *client;
    uint64_t refuse;
    uint64_t refuse_protocol;
    struct err err;
    struct err gone_why;
    unsigned gone;
    unsigned back;
    unsigned failed;
    unsigned changed;
    unsigned timeout_ms;
    unsigned stop_patience;
    uint16_t ring_size; /* of an in-flight region */
};

static void on_config(void *arg)
{
    struct world *w = arg;

    w->changed++;
}

static void on_gone(void *arg, const struct err *why)
{
    struct world *w = arg;

    w->gone++;
    w->gone_why = *why;
}

static void on_failed(void *arg, const struct err *why)
{
    struct world *w = arg;

    (void)why;
    w->failed++;
}

static void on_back(void *arg)
{
    struct world *w = arg;

    w->back++;
}

static int open_client(struct world *w)
{
    const struct vhost_user_client_opts opts = {
        .socket = w->fake.path,
        .timeout_ms = w->timeout_ms,
        .stop_patience = w->stop_patience,
        .rings = 3, /* more than there are */
        .ring_size = w->ring_size,
        .refuse = w->refuse,
        .refuse_protocol = w->refuse_protocol,
        .config_changed = on_config,
        .gone = on_gone,
        .retry_failed = on_failed,
        .back = on_back,
        .arg = w,
    };

    return vhost_user_client_open(&w->client, &opts, &w->err);
}

static int world_start(void **state)
{
    static struct world world;
    struct world *w = &world;

    memset(w, 0, sizeof(*w));
    w->timeout_ms = LONG_MS;
    fake_start(&w->fake, &good);
    arena_init(&w->arena, GUEST, ARENA_BYTES);
    ring_driver_init(&w->drv, SIZE, 4, w->arena.host, GUEST - (uintptr_t)w->arena.host, NULL);
    w->ring = (struct vhost_user_client_ring){
        .size = SIZE,
        .desc = ring_driver_addr(&w->drv, w->drv.desc),
        .avail = ring_driver_addr(&w->drv, w->drv.avail),
        .used = ring_driver_addr(&w->drv, w->drv.used),
        .kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .err_fd = -1,
    };
    *state = w;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    if (w->client) {
        vhost_user_client_close(w->client);
    }
    fake_end(&w->fake);
    close(w->ring.kick_fd);
    close(w->ring.call_fd);
    arena_fini(&w->arena);
    return 0;
}

static void again(struct world *w, const struct fake_opts *opts)
{
    fake_leave(&w->fake);
    fake_return(&w->fake, opts);
}

static void share(struct world *w)
{
    const struct vhost_user_client_region region = {
        .guest_addr = GUEST, .size = ARENA_BYTES, .host = w->arena.host, .fd = w->arena.fd};

    assert_int_equal(vhost_user_client_add_memory(w->client, &region, &w->err), 0);
}

static void start_all(struct world *w)
{
    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(vhost_user_client_set_features(w->client, VERSION_1, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_start(w->client, 1, &w->ring, &w->err), 0);
}

/* Drive the client until `*count` reaches `goal`. */
static void drive(struct world *w, const unsigned *count, unsigned goal)
{
    uint64_t end = now_ns() + LONG_MS * NS_PER_MS;
    struct pollfd fd = {.fd = vhost_user_client_fd(w->client), .events = POLLIN};

    while (*count < goal) {
        assert_true(now_ns() < end);
        if (poll(&fd, 1, 100) > 0) {
            vhost_user_client_dispatch(w->client);
        }
    }
}

static uint64_t drain_fd(int fd)
{
    uint64_t value = 0;

    return read(fd, &value, sizeof(value)) > 0 ? value : 0;
}

/* ---- opening ---- */

static void agrees_on_what_both_know(void **state)
{
    struct world *w = *state;
    uint64_t capacity = 0;

    assert_int_equal(open_client(w), 0);
    assert_int_equal(w->fake.protocol_features, ALL_PROTOCOL);
    assert_int_equal(vhost_user_client_features(w->client), VERSION_1 | FLUSH);
    assert_int_equal(vhost_user_client_max_rings(w->client), FAKE_RINGS);
    vhost_user_client_config_read(w->client, 0, &capacity, sizeof(capacity));
    assert_int_equal(capacity, 2048);
    assert_int_equal(w->fake.seen[VHOST_SET_OWNER], 1);
    assert_true(vhost_user_client_is_connected(w->client));
}

static void simplest_back_end_will_do(void **state)
{
    struct world *w = *state;
    uint32_t base = 0;

    again(w, &(struct fake_opts){.features = VERSION_1});
    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(vhost_user_client_max_rings(w->client), 1);
    assert_int_equal(vhost_user_client_set_features(w->client, VERSION_1, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 0, &base, &w->err), 0);
    assert_int_equal(base, FAKE_BASE);
    assert_int_equal(w->fake.features, VERSION_1);
    assert_int_equal(w->fake.regions, 1);
    assert_true(w->fake.ring[0].has_kick);
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_ENABLE], 0);
}

static void refused_features_are_taken_as_not_offered(void **state)
{
    struct world *w = *state;

    w->refuse = FLUSH | PROTOCOL;
    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(vhost_user_client_features(w->client), VERSION_1);
    assert_int_equal(vhost_user_client_set_features(w->client, VERSION_1, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 0, NULL, &w->err), 0);
    assert_int_equal(w->fake.features, VERSION_1);
    assert_int_equal(w->fake.seen[VHOST_GET_PROTOCOL_FEATURES], 0);
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_ENABLE], 0);
}

static void refused_protocol_features_are_not_agreed_on(void **state)
{
    struct world *w = *state;

    w->refuse_protocol = 1ull << VHOST_P_CONFIGURE_MEM_SLOTS | 1ull << VHOST_P_CONFIG;
    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(w->fake.protocol_features, ALL_PROTOCOL & ~w->refuse_protocol);
    assert_int_equal(w->fake.seen[VHOST_SET_MEM_TABLE], 1);
    assert_int_equal(w->fake.seen[VHOST_GET_CONFIG], 0);
}

static void ring_past_the_last_is_refused_here(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(vhost_user_client_ring_start(w->client, 2, &w->ring, &w->err), -EINVAL);
    assert_non_null(strstr(w->err.text, "ring 2"));
}

static void no_back_end_is_said_with_what_to_do(void **state)
{
    struct world *w = *state;

    fake_leave(&w->fake);
    assert_int_equal(open_client(w), -ECONNREFUSED);
    assert_non_null(strstr(w->err.text, w->fake.path));
    assert_non_null(strstr(w->err.text, "start the back-end"));
    fake_return(&w->fake, &good);
}

static void what_is_no_socket_is_said(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    const struct vhost_user_client_opts opts = {.socket = w->fake.dir};

    assert_int_equal(vhost_user_client_open(&w->client, &opts, &err), -ENOTSOCK);
    assert_non_null(strstr(err.text, "it is no socket"));
}

static void disk_that_is_taken_hangs_up_at_once(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.hang_up = VHOST_GET_FEATURES;
    again(w, &opts);
    assert_int_equal(open_client(w), -ECONNRESET);
    assert_non_null(strstr(w->err.text, "another front-end"));
}

static void silence_is_named(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.mute = VHOST_GET_CONFIG;
    again(w, &opts);
    w->timeout_ms = SILENCE_MS;
    assert_int_equal(open_client(w), -ETIMEDOUT);
    assert_non_null(strstr(w->err.text, "GET_CONFIG within 1000 ms"));
}

/* ---- memory and rings ---- */

static void memory_goes_as_slot_or_as_table(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(w->fake.seen[VHOST_ADD_MEM_REG], 1);
    vhost_user_client_close(w->client);
    opts.protocol_features &= ~(1ull << VHOST_P_CONFIGURE_MEM_SLOTS);
    again(w, &opts);
    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(w->fake.seen[VHOST_SET_MEM_TABLE], 1);
    assert_int_equal(w->fake.regions, 1);
}

static void ring_is_told_in_full(void **state)
{
    struct world *w = *state;
    struct fake_ring *ring = &w->fake.ring[1];

    w->ring.base = 5;
    start_all(w);
    assert_int_equal(ring->size, SIZE);
    assert_int_equal(ring->base, 5);
    assert_int_equal(ring->addr.desc, (uintptr_t)w->drv.desc);
    assert_int_equal(ring->addr.avail, (uintptr_t)w->drv.avail);
    assert_int_equal(ring->addr.used, (uintptr_t)w->drv.used);
    assert_true(ring->has_kick && ring->has_call && ring->is_enabled);
    assert_int_equal(w->fake.features, VERSION_1 | PROTOCOL);
}

static void ring_outside_the_memory_is_refused_here(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_client(w), 0);
    share(w);
    w->ring.used = GUEST + ARENA_BYTES - 4;
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), -EINVAL);
    w->ring.used = UINT64_MAX - 4;
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), -EINVAL);
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_NUM], 0);
}

/* Its parts are looked at here as well, by loads of whole words. */
static void ring_that_is_not_aligned_is_refused_here(void **state)
{
    struct world *w = *state;
    struct vhost_user_client_ring odd[] = {w->ring, w->ring, w->ring};

    assert_int_equal(open_client(w), 0);
    share(w);
    odd[0].desc += 8;
    odd[1].avail += 1;
    odd[2].used += 2;
    for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
        assert_int_equal(vhost_user_client_ring_start(w->client, 0, &odd[i], &w->err), -EINVAL);
        assert_non_null(strstr(w->err.text, "aligned"));
    }
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_NUM], 0);
}

static void features_that_were_not_offered_are_refused_here(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_client(w), 0);
    assert_int_equal(vhost_user_client_set_features(w->client, 1ull << 5, &w->err), -EINVAL);
}

static void refusal_is_handed_on_and_the_connection_stays(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.refuse = VHOST_SET_VRING_ADDR;
    again(w, &opts);
    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), -EREMOTEIO);
    assert_non_null(strstr(w->err.text, "SET_VRING_ADDR"));
    assert_true(vhost_user_client_is_connected(w->client));
}

static void stop_tells_the_next_index(void **state)
{
    struct world *w = *state;
    uint32_t base = 0;

    start_all(w);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, &base, &w->err), 0);
    assert_int_equal(base, FAKE_BASE);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, &base, &w->err), 0);
    assert_int_equal(w->fake.seen[VHOST_GET_VRING_BASE], 1);
}

/* Source: vhost-user, "Vring descriptor indices for packed virtqueues": two halves. */
static void base_of_a_packed_ring_is_told_in_full(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;
    uint32_t base = 0;

    opts.base = 0x00038004;
    again(w, &opts);
    w->ring.base = 0x80038002;
    start_all(w);
    assert_int_equal(w->fake.ring[1].base, 0x80038002);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, &base, &w->err), 0);
    assert_int_equal(base, 0x00038004);
}

/* For all that comes now. */
static void start_with_little_patience(struct world *w)
{
    start_all(w);
    w->client->link.timeout_ms = STOP_MS;
}

/* A stop that gives up leaves requests which may still write to memory. */
static void stop_waits_as_long_as_it_was_told(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;
    uint64_t start_ns;
    uint32_t base = 0;

    opts.drain_ms = 30 * STOP_MS;
    again(w, &opts);
    start_with_little_patience(w);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, &base, &w->err), 0);
    assert_false(vhost_user_client_is_connected(w->client)); /* it gave up after twelve */
    vhost_user_client_close(w->client);
    again(w, &opts);
    w->stop_patience = VHOST_USER_CLIENT_FOR_EVER;
    start_with_little_patience(w);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, &base, &w->err), 0);
    assert_true(vhost_user_client_is_connected(w->client));
    assert_int_equal(base, FAKE_BASE);
    vhost_user_client_close(w->client);
    again(w, &opts);
    w->stop_patience = 1;
    start_with_little_patience(w);
    start_ns = now_ns();
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, &base, &w->err), 0);
    assert_true(now_ns() - start_ns < opts.drain_ms * NS_PER_MS);
    assert_false(vhost_user_client_is_connected(w->client));
}

static void other_fds_can_be_given_to_a_ring_that_runs(void **state)
{
    struct world *w = *state;

    start_all(w);
    assert_int_equal(vhost_user_client_ring_set_call(w->client, 1, -1, &w->err), 0);
    assert_false(w->fake.ring[1].has_call);
    assert_int_equal(vhost_user_client_ring_set_call(w->client, 1, w->ring.call_fd, &w->err), 0);
    assert_true(w->fake.ring[1].has_call);
    assert_int_equal(vhost_user_client_ring_set_kick(w->client, 1, w->ring.kick_fd, &w->err), 0);
    assert_int_equal(w->fake.seen[VHOST_SET_VRING_KICK], 2);
}

/* ---- in-flight regions ---- */

/* Where a message came among all, from 1 on; 0: it did not. */
static unsigned place_of(const struct world *w, uint32_t request)
{
    for (unsigned i = 0; i < w->fake.order_count; i++) {
        if (w->fake.order[i] == request) {
            return i + 1;
        }
    }
    return 0;
}

static void start_tracked(struct world *w, const struct fake_opts *opts)
{
    again(w, opts);
    w->ring_size = SIZE;
    start_all(w);
}

/* Of packed rings it is another one, so the back-end knows the features first. */
static void region_is_asked_for_when_features_are_known(void **state)
{
    struct world *w = *state;

    start_tracked(w, &tracking);
    assert_int_equal(w->fake.inflight.num_queues, FAKE_RINGS);
    assert_int_equal(w->fake.inflight.queue_size, SIZE);
    assert_int_equal(w->fake.inflight_set.num_queues, FAKE_RINGS);
    assert_int_equal(w->fake.inflight_set.queue_size, SIZE);
    assert_int_equal(w->fake.inflight_set.mmap_size, 8192);
    assert_int_equal(w->fake.inflight_set.mmap_offset, 8192);
    assert_int_equal(w->fake.inflight_set_inode, w->fake.inflight_inode);
    assert_true(place_of(w, VHOST_SET_FEATURES) < place_of(w, VHOST_GET_INFLIGHT_FD));
    assert_true(place_of(w, VHOST_GET_INFLIGHT_FD) < place_of(w, VHOST_SET_INFLIGHT_FD));
    assert_true(place_of(w, VHOST_SET_INFLIGHT_FD) < place_of(w, VHOST_SET_VRING_NUM));
    assert_int_equal(w->fake.seen[VHOST_GET_INFLIGHT_FD], 1);
}

static void region_is_given_to_the_next_back_end(void **state)
{
    struct world *w = *state;
    uint64_t inode;

    start_tracked(w, &tracking);
    inode = w->fake.inflight_inode;
    again(w, &tracking);
    drive(w, &w->back, 1);
    assert_int_equal(w->fake.seen[VHOST_GET_INFLIGHT_FD], 0);
    assert_int_equal(w->fake.inflight_set_inode, inode);
    assert_int_equal(w->fake.inflight_set.mmap_size, 8192);
    assert_int_equal(w->fake.inflight_set.mmap_offset, 8192);
    assert_int_equal(w->fake.inflight_set.queue_size, SIZE);
    assert_true(place_of(w, VHOST_SET_FEATURES) < place_of(w, VHOST_SET_INFLIGHT_FD));
    assert_true(place_of(w, VHOST_SET_INFLIGHT_FD) < place_of(w, VHOST_ADD_MEM_REG));
    assert_true(place_of(w, VHOST_SET_INFLIGHT_FD) < place_of(w, VHOST_SET_VRING_NUM));
}

static void driver_that_begins_has_a_region_of_its_own(void **state)
{
    struct world *w = *state;
    uint64_t inode;

    start_tracked(w, &tracking);
    inode = w->fake.inflight_inode;
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, NULL, &w->err), 0);
    assert_int_equal(vhost_user_client_set_features(w->client, VERSION_1, &w->err), 0);
    assert_int_equal(w->fake.seen[VHOST_GET_INFLIGHT_FD], 2);
    assert_int_not_equal(w->fake.inflight_inode, inode);
    assert_int_equal(w->fake.inflight_set_inode, w->fake.inflight_inode);
}

/* What its driver has said meanwhile is told when it is back. */
static void driver_that_begins_while_it_is_away_has_another_region(void **state)
{
    struct world *w = *state;
    uint64_t inode;

    start_tracked(w, &tracking);
    inode = w->fake.inflight_inode;
    fake_leave(&w->fake);
    drive(w, &w->gone, 1);
    assert_int_equal(vhost_user_client_set_features(w->client, VERSION_1, &w->err), 0);
    fake_return(&w->fake, &tracking);
    drive(w, &w->back, 1);
    assert_int_equal(w->fake.seen[VHOST_GET_INFLIGHT_FD], 1);
    assert_int_not_equal(w->fake.inflight_inode, inode);
    assert_int_equal(w->fake.inflight_set_inode, w->fake.inflight_inode);
}

/* What it had in flight is not in the region, so that is of no use to the one after it. */
static void region_ends_with_a_back_end_that_has_none(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = tracking;
    uint64_t inode;

    start_tracked(w, &tracking);
    inode = w->fake.inflight_inode;
    opts.protocol_features &= ~INFLIGHT;
    again(w, &opts);
    drive(w, &w->back, 1);
    assert_int_equal(w->fake.seen[VHOST_SET_INFLIGHT_FD], 0);
    again(w, &tracking);
    drive(w, &w->back, 2);
    assert_int_equal(w->fake.seen[VHOST_GET_INFLIGHT_FD], 1);
    assert_int_not_equal(w->fake.inflight_inode, inode);
}

static void region_of_no_bytes_is_none(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = tracking;

    opts.tracks_nothing = true;
    start_tracked(w, &opts);
    assert_true(vhost_user_client_is_connected(w->client));
    assert_int_equal(w->fake.seen[VHOST_GET_INFLIGHT_FD], 1);
    assert_int_equal(w->fake.seen[VHOST_SET_INFLIGHT_FD], 0);
    assert_int_equal(w->client->inflight_fd, -1);
}

static void region_without_memory_is_no_answer(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = tracking;

    opts.inflight_fds = 0;
    start_tracked(w, &opts);
    assert_false(vhost_user_client_is_connected(w->client));
    assert_non_null(strstr(w->client->why.text, "no memory came with the answer to GET_INFLIGHT"));
}

static void file_that_nobody_asked_for_is_closed(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = tracking;
    unsigned count;

    start_tracked(w, &tracking);
    count = fd_count();
    vhost_user_client_close(w->client);
    opts.inflight_fds = 2;
    start_tracked(w, &opts);
    assert_true(vhost_user_client_is_connected(w->client));
    assert_int_equal(fd_count(), count);
    assert_int_equal(w->fake.inflight_set_inode, w->fake.inflight_inode);
}

static void refused_region_is_told_of(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = tracking;

    opts.refuse = VHOST_SET_INFLIGHT_FD;
    again(w, &opts);
    w->ring_size = SIZE;
    assert_int_equal(open_client(w), 0);
    assert_int_equal(vhost_user_client_set_features(w->client, VERSION_1, &w->err), -EREMOTEIO);
    assert_non_null(strstr(w->err.text, "SET_INFLIGHT_FD"));
}

/* Who asks for none has none, and so has no packed ring, wherever that could go on. */
static void packed_rings_are_offered_with_a_region_only(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = tracking;

    again(w, &tracking);
    assert_int_equal(open_client(w), 0);
    assert_int_equal(vhost_user_client_features(w->client), VERSION_1);
    assert_int_equal(w->fake.protocol_features, ALL_PROTOCOL);
    vhost_user_client_close(w->client);
    w->ring_size = SIZE;
    again(w, &tracking);
    assert_int_equal(open_client(w), 0);
    assert_int_equal(vhost_user_client_features(w->client), VERSION_1 | PACKED);
    vhost_user_client_close(w->client);
    opts.protocol_features &= ~INFLIGHT;
    again(w, &opts);
    assert_int_equal(open_client(w), 0);
    assert_int_equal(vhost_user_client_features(w->client), VERSION_1);
}

/* ---- packed rings ---- */

static void open_packed(struct world *w)
{
    again(w, &tracking);
    w->ring_size = SIZE;
    assert_int_equal(open_client(w), 0);
    share(w);
    assert_int_equal(vhost_user_client_set_features(w->client, VERSION_1 | PACKED, &w->err), 0);
}

/* Nothing in the ring tells where a back-end is; the region does. */
static void packed_ring_goes_on_with_the_base_it_began_with(void **state)
{
    struct world *w = *state;
    uint32_t base = 0;

    open_packed(w);
    w->ring.base = VHOST_USER_CLIENT_PACKED_BASE;
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), 0);
    memset(w->arena.host, 0x55, ARENA_BYTES);
    again(w, &tracking);
    drive(w, &w->back, 1);
    assert_int_equal(w->fake.ring[0].base, VHOST_USER_CLIENT_PACKED_BASE);
    fake_leave(&w->fake);
    drive(w, &w->gone, 2);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 0, &base, &w->err), 0);
    assert_int_equal(base, VHOST_USER_CLIENT_PACKED_BASE);
    fake_return(&w->fake, &tracking);
}

/* The parts beside the descriptors have four bytes each, at the end of memory too. */
static void parts_of_a_packed_ring_are_its_own(void **state)
{
    struct world *w = *state;

    open_packed(w);
    w->ring.desc = GUEST + ARENA_BYTES - 8 - 16 * SIZE;
    w->ring.avail = GUEST + ARENA_BYTES - 8;
    w->ring.used = GUEST + ARENA_BYTES - 4;
    w->ring.desc &= ~15ull;
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), 0);
    assert_int_equal(w->fake.ring[0].addr.used, (uintptr_t)w->arena.host + ARENA_BYTES - 4);
    w->ring.avail -= 2;
    assert_int_equal(vhost_user_client_ring_start(w->client, 1, &w->ring, &w->err), -EINVAL);
    assert_non_null(strstr(w->err.text, "aligned"));
    w->ring.avail = GUEST + ARENA_BYTES;
    assert_int_equal(vhost_user_client_ring_start(w->client, 1, &w->ring, &w->err), -EINVAL);
    assert_non_null(strstr(w->err.text, "outside"));
}

/* ---- config changes ---- */

static void change_of_the_config_is_followed(void **state)
{
    struct world *w = *state;
    uint64_t capacity = 0;

    assert_int_equal(open_client(w), 0);
    fake_change_config(&w->fake, 4096);
    drive(w, &w->changed, 1);
    vhost_user_client_config_read(w->client, 0, &capacity, sizeof(capacity));
    assert_int_equal(capacity, 4096);
    vhost_user_client_config_read(w->client, 250, &capacity, sizeof(capacity));
    assert_int_equal(capacity, 0);
}

/* Back-ends that wait for their own answer first must not wait for ever. */
static void request_of_the_back_end_is_answered_meanwhile(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.asks_first = true;
    again(w, &opts);
    start_all(w);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, NULL, &w->err), 0);
    assert_int_equal(w->fake.channel_answers, 1);
    drive(w, &w->changed, 1);
}

/* ---- a back-end that takes the time of others ---- */

static uint64_t elapsed_ms(uint64_t since_ns)
{
    return (now_ns() - since_ns) / NS_PER_MS;
}

static void flood_moves_no_deadline(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.floods = true;
    opts.mute = VHOST_GET_QUEUE_NUM;
    again(w, &opts);
    w->timeout_ms = SILENCE_MS;
    assert_int_equal(open_client(w), -ETIMEDOUT);
    assert_non_null(strstr(w->err.text, "GET_QUEUE_NUM within 1000 ms"));
}

/* Whoever waits for the client meanwhile has his turn, and the loop that drives it sleeps. */
static void flood_is_served_a_little_at_a_time(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;
    struct pollfd fd = {.events = POLLIN};
    uint64_t start_ns;
    unsigned dispatches = 0;

    opts.floods = true;
    again(w, &opts);
    start_all(w);
    fd.fd = vhost_user_client_fd(w->client);
    start_ns = now_ns();
    while (elapsed_ms(start_ns) < 300 || w->changed == 0) {
        if (poll(&fd, 1, 100) > 0) {
            vhost_user_client_dispatch(w->client);
            dispatches++;
        }
    }
    assert_true(vhost_user_client_is_connected(w->client));
    assert_true(dispatches < 5 + elapsed_ms(start_ns) / 3); /* each 20 ms, and some */
    assert_true(w->changed < 5 + elapsed_ms(start_ns) / 6);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, NULL, &w->err), 0);
}

static void what_changes_amid_a_flood_is_seen(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;
    uint64_t capacity = 0;

    opts.floods = true;
    again(w, &opts);
    assert_int_equal(open_client(w), 0);
    drive(w, &w->changed, 1);
    w->fake.opts.capacity = 4096;
    while (capacity != 4096) {
        drive(w, &w->changed, w->changed + 1);
        vhost_user_client_config_read(w->client, 0, &capacity, sizeof(capacity));
    }
}

/* Each answer is within its deadline, and all of them together would take for ever. */
static void slow_set_up_ends(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.delay_ms = SILENCE_MS * 6 / 10;
    again(w, &opts);
    w->timeout_ms = SILENCE_MS;
    assert_int_equal(open_client(w), -ETIMEDOUT);
    assert_non_null(strstr(w->err.text, "set-up takes longer than 3000 ms"));
}

static void config_is_written(void **state)
{
    struct world *w = *state;
    uint8_t cache = 1, now = 0;

    assert_int_equal(open_client(w), 0);
    assert_int_equal(vhost_user_client_config_write(w->client, 32, &cache, 1, &w->err), 0);
    assert_int_equal(w->fake.seen[VHOST_SET_CONFIG], 1);
    vhost_user_client_config_read(w->client, 32, &now, 1);
    assert_int_equal(now, 1);
    assert_int_equal(vhost_user_client_config_write(w->client, 60, &cache, 1, &w->err), -EINVAL);
}

/* ---- coming back ---- */

static void everything_is_told_again(void **state)
{
    struct world *w = *state;

    start_all(w);
    w->drv.used->idx = 9;
    again(w, &good);
    drive(w, &w->back, 1);
    assert_int_equal(w->gone, 1);
    assert_int_equal(w->fake.features, VERSION_1 | PROTOCOL);
    assert_int_equal(w->fake.regions, 1);
    assert_int_equal(w->fake.ring[1].base, 9);
    assert_true(w->fake.ring[1].has_kick && w->fake.ring[1].is_enabled);
    assert_int_equal(w->fake.ring[0].size, 0);
    assert_int_equal(drain_fd(w->ring.kick_fd), 1);
    assert_int_equal(drain_fd(w->ring.call_fd), 1);
    assert_int_equal(w->changed, 0);
    assert_int_equal(vhost_user_client_reconnects(w->client), 1);
}

static void absence_is_waited_for_with_patience(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;
    unsigned connections;

    start_all(w);
    connections = w->fake.connections;
    fake_leave(&w->fake);
    drive(w, &w->failed, 1);
    for (unsigned i = 0; i < 20; i++) { /* at once, then 10, 20, 40, 80 ms */
        (void)poll(NULL, 0, 5);
        vhost_user_client_dispatch(w->client);
    }
    assert_int_equal(w->failed, 1); /* the reason is the same */
    opts.capacity = 8192;
    fake_return(&w->fake, &opts);
    drive(w, &w->back, 1);
    assert_int_equal(w->changed, 1);
    assert_int_equal(w->fake.connections, connections + 1);
}

static void set_up_while_it_is_away_is_done_later(void **state)
{
    struct world *w = *state;
    uint32_t base = 99;

    assert_int_equal(open_client(w), 0);
    fake_leave(&w->fake);
    drive(w, &w->gone, 1);
    share(w);
    assert_int_equal(vhost_user_client_set_features(w->client, FLUSH, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_start(w->client, 0, &w->ring, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_start(w->client, 1, &w->ring, &w->err), 0);
    assert_int_equal(vhost_user_client_ring_stop(w->client, 1, &base, &w->err), 0);
    assert_int_equal(base, 0);
    fake_return(&w->fake, &good);
    drive(w, &w->back, 1);
    assert_int_equal(w->fake.features, FLUSH | PROTOCOL);
    assert_true(w->fake.ring[0].is_enabled);
    assert_false(w->fake.ring[1].is_enabled);
}

/* A back-end that breaks off in the middle of a set-up is one that went away. */
static void breaking_off_in_a_call_is_no_error_of_the_call(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    opts.hang_up = VHOST_SET_VRING_BASE;
    again(w, &opts);
    start_all(w);
    assert_false(vhost_user_client_is_connected(w->client));
    again(w, &good);
    drive(w, &w->back, 1);
    assert_non_null(strstr(w->gone_why.text, "SET_VRING_BASE"));
    assert_true(w->fake.ring[1].is_enabled);
}

static void back_end_that_lost_features_is_not_taken(void **state)
{
    struct world *w = *state;
    struct fake_opts opts = good;

    start_all(w);
    opts.features = PROTOCOL;
    again(w, &opts);
    drive(w, &w->failed, 1);
    assert_int_equal(w->back, 0);
    assert_int_equal(w->fake.ring[1].size, 0);
    again(w, &good);
    drive(w, &w->back, 1);
}

int main(void)
{
#define client_test(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)
    static const struct CMUnitTest tests[] = {
        client_test(agrees_on_what_both_know),
        client_test(simplest_back_end_will_do),
        client_test(refused_features_are_taken_as_not_offered),
        client_test(refused_protocol_features_are_not_agreed_on),
        client_test(ring_past_the_last_is_refused_here),
        client_test(no_back_end_is_said_with_what_to_do),
        client_test(what_is_no_socket_is_said),
        client_test(disk_that_is_taken_hangs_up_at_once),
        client_test(silence_is_named),
        client_test(memory_goes_as_slot_or_as_table),
        client_test(ring_is_told_in_full),
        client_test(ring_outside_the_memory_is_refused_here),
        client_test(ring_that_is_not_aligned_is_refused_here),
        client_test(features_that_were_not_offered_are_refused_here),
        client_test(refusal_is_handed_on_and_the_connection_stays),
        client_test(stop_tells_the_next_index),
        client_test(base_of_a_packed_ring_is_told_in_full),
        client_test(stop_waits_as_long_as_it_was_told),
        client_test(other_fds_can_be_given_to_a_ring_that_runs),
        client_test(change_of_the_config_is_followed),
        client_test(request_of_the_back_end_is_answered_meanwhile),
        client_test(flood_moves_no_deadline),
        client_test(flood_is_served_a_little_at_a_time),
        client_test(what_changes_amid_a_flood_is_seen),
        client_test(slow_set_up_ends),
        client_test(config_is_written),
        client_test(region_is_asked_for_when_features_are_known),
        client_test(region_is_given_to_the_next_back_end),
        client_test(driver_that_begins_has_a_region_of_its_own),
        client_test(driver_that_begins_while_it_is_away_has_another_region),
        client_test(region_ends_with_a_back_end_that_has_none),
        client_test(region_of_no_bytes_is_none),
        client_test(region_without_memory_is_no_answer),
        client_test(file_that_nobody_asked_for_is_closed),
        client_test(refused_region_is_told_of),
        client_test(packed_rings_are_offered_with_a_region_only),
        client_test(packed_ring_goes_on_with_the_base_it_began_with),
        client_test(parts_of_a_packed_ring_are_its_own),
        client_test(everything_is_told_again),
        client_test(absence_is_waited_for_with_patience),
        client_test(set_up_while_it_is_away_is_done_later),
        client_test(breaking_off_in_a_call_is_no_error_of_the_call),
        client_test(back_end_that_lost_features_is_not_taken),
    };

    return unit_run(tests);
}
