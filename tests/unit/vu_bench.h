/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk with a null image and its vhost-user transport on a loop that the test turns itself,
 * and a front-end that can misbehave: it sends whatever bytes and fds a test wants.
 * The teardown proves that nothing is left: no handle on the loop, no fd, no file.
 */

#include "core/device/device.h"
#include "tests/unit/unit.h"

#include "core/device/device_state.h"
#include "transports/vhost_user.h"
#include "transports/vhost_user_wire.h"

#define BENCH_MEM_BYTES 0x10000u
#define BENCH_GUEST 0x0ull
#define BENCH_USER 0x7f0000000000ull
#define BENCH_QUEUES 2u
#define BENCH_QUEUE_SIZE 8u
#define BENCH_QUEUE_MAX 128u

/* Where the parts of the only ring are, as offsets in memory. */
#define BENCH_DESC 0x1000u
#define BENCH_AVAIL 0x2000u
#define BENCH_USED 0x3000u

struct vu_bench {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct vhost_user *vu; /* NULL: stopped */
    struct image *image;
    char dir[32];
    char path[48];
    int peer;   /* the front-end's end, -1: none */
    int mem_fd; /* guest memory, shared when a test says so */
    uint8_t *mem;
    int kick;
    int call;
    int log_fd; /* what stderr is while the test runs */
    int stderr_fd;
    unsigned fds_before;
    unsigned keeps;      /* times that it was told of the cache: nobody answers but the test */
    unsigned turns_left; /* until requests end, see bench_let_go; 0: not so */
};

struct vu_answer {
    struct vhost_user_header header;
    union vhost_user_payload payload;
};

/* cmocka set-up and teardown; *state is a struct vu_bench, connected and nothing negotiated. */
int bench_start(void **state);
int bench_start_slow(void **state);  /* no request ends before bench_let_go */
int bench_start_hasty(void **state); /* what is to be kept of the cache has 20 ms, as a state */
int bench_stop(void **state);

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)
#define bench_test_slow(test) cmocka_unit_test_setup_teardown(test, bench_start_slow, bench_stop)

/* Turn the loop for `ms` milliseconds. */
void bench_pump(struct vu_bench *b, unsigned ms);

/* Turn the loop until `is_true(b)`; fails the test after a long while. */
void bench_wait(struct vu_bench *b, bool (*is_true)(struct vu_bench *b));

/* Has the log this text?  Waits for it. */
void bench_expect_log(struct vu_bench *b, const char *text);
bool bench_has_log(struct vu_bench *b, const char *text);

/* Another connection; the caller closes it. */
int bench_connect(struct vu_bench *b);

/* Send bytes and fds as they are, without turning the loop. */
void bench_send_raw(int fd, const void *bytes, size_t len, const int *fds, unsigned fd_count);
void bench_send(struct vu_bench *b, uint32_t request, uint32_t flags, const void *payload,
                uint32_t size, const int *fds, unsigned fd_count);

/* The next reply on `fd`.  Returns false when the connection was closed instead. */
bool bench_receive_on(struct vu_bench *b, int fd, struct vu_answer *answer);
bool bench_receive(struct vu_bench *b, struct vu_answer *answer);
void bench_expect_closed(struct vu_bench *b);

/* One message at a time, the way that well-behaved front-ends send them. */
uint64_t bench_get_u64(struct vu_bench *b, uint32_t request);
uint64_t bench_ack(struct vu_bench *b, uint32_t request, const void *payload, uint32_t size,
                   const int *fds, unsigned fd_count); /* UINT64_MAX: closed without an answer */
uint64_t bench_ack_u64(struct vu_bench *b, uint32_t request, uint64_t value, int fd);
uint64_t bench_ack_state(struct vu_bench *b, uint32_t request, uint32_t index, uint32_t num);
uint64_t bench_ack_addr(struct vu_bench *b, uint64_t desc, uint64_t used, uint64_t avail,
                        uint32_t flags);

/* Accept everything that is offered. */
void bench_negotiate(struct vu_bench *b);

struct vhost_user_table bench_table(void);
void bench_share_memory(struct vu_bench *b);

/* Ring 0 with kick and call fd, enabled. */
void bench_start_ring(struct vu_bench *b);

/* All three: negotiate, share memory, start the ring. */
void bench_set_up(struct vu_bench *b);

/* Put a read of one sector into the ring and kick.  Data and status are overwritten. */
void bench_offer(struct vu_bench *b);
uint16_t bench_used_idx(const struct vu_bench *b);
void bench_wait_used(struct vu_bench *b, uint16_t idx);

/* The same, and wait until the disk has it in flight. */
void bench_begin(struct vu_bench *b);

/* Let requests end when the loop has turned a few times, so that what is sent next comes before. */
void bench_let_go(struct vu_bench *b);

/* The answer of GET_VRING_BASE for ring 0. */
uint32_t bench_get_base(struct vu_bench *b);
