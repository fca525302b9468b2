/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */
#include "tests/unit/vu_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/porter.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/gate_image.h"
#include "transports/socket_rights.h"

#define DEADLINE_NS (30 * NS_PER_S)
#define LET_GO_TURNS 10u

void bench_pump(struct vu_bench *b, unsigned ms)
{
    uint64_t end = now_ns() + ms * NS_PER_MS;

    do {
        uv_run(&b->loop, UV_RUN_NOWAIT);
        if (b->turns_left > 0 && --b->turns_left == 0) {
            gate_open();
        }
        if (ms > 0) {
            (void)poll(NULL, 0, 1);
        }
    } while (now_ns() < end);
}

void bench_let_go(struct vu_bench *b)
{
    b->turns_left = LET_GO_TURNS;
}

void bench_wait(struct vu_bench *b, bool (*is_true)(struct vu_bench *b))
{
    uint64_t end = now_ns() + DEADLINE_NS;

    while (!is_true(b)) {
        assert_true(now_ns() < end);
        bench_pump(b, 1);
    }
}

bool bench_has_log(struct vu_bench *b, const char *text)
{
    static char log[65536];
    ssize_t len = pread(b->log_fd, log, sizeof(log) - 1, 0);

    log[len > 0 ? len : 0] = '\0';
    return strstr(log, text) != NULL;
}

void bench_expect_log(struct vu_bench *b, const char *text)
{
    uint64_t end = now_ns() + DEADLINE_NS;

    while (!bench_has_log(b, text)) {
        if (now_ns() >= end) {
            fail_msg("not in the log: %s", text);
        }
        bench_pump(b, 1);
    }
}

static void capture_log(struct vu_bench *b)
{
    b->log_fd = memfd_create("log", MFD_CLOEXEC);
    b->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_true(b->log_fd >= 0 && b->stderr_fd >= 0);
    assert_true(dup2(b->log_fd, STDERR_FILENO) >= 0);
    log_set_level(LOG_LEVEL_INFO);
}

static void release_log(struct vu_bench *b)
{
    dup2(b->stderr_fd, STDERR_FILENO);
    close(b->stderr_fd);
    close(b->log_fd);
}

static int open_image(struct vu_bench *b, bool is_slow, struct err *err)
{
    const struct image_opts opts = {.type = "null", .size = 1 << 20, .max_inflight = 16};

    gate_shut();
    return is_slow ? gate_image_open(&b->image, 1 << 20, err) : image_open(&b->image, &opts, err);
}

static void open_device(struct vu_bench *b, bool is_slow)
{
    const struct device_opts opts = {.name = "vda",
                                     .queues = BENCH_QUEUES,
                                     .queue_size_max = BENCH_QUEUE_MAX,
                                     .awaited = &b->awaited};
    struct blk_opts blk = {
        .queues = BENCH_QUEUES, .seg_max = BLK_SEG_MAX, .has_config_wce = true, .serial = "bench"};
    struct err err = {0};

    assert_int_equal(open_image(b, is_slow, &err), 0);
    assert_int_equal(blk_opts_resolve(&blk, image_facts(b->image), &err), 0);
    assert_int_equal(device_init(&b->dev, &b->loop, &opts, &blk, &err), 0);
    assert_int_equal(device_attach(&b->dev, b->image, &err), 0);
    device_resume(&b->dev, PAUSE_ADMIN);
}

static void open_memory(struct vu_bench *b)
{
    b->mem_fd = memfd_create("guest", MFD_CLOEXEC);
    assert_return_code(ftruncate(b->mem_fd, BENCH_MEM_BYTES), errno);
    b->mem = mmap(NULL, BENCH_MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, b->mem_fd, 0);
    assert_true(b->mem != MAP_FAILED);
    b->kick = eventfd(0, EFD_CLOEXEC);
    b->call = eventfd(0, EFD_CLOEXEC);
}

/* libuv and the porters open fds of their own for the first loop of a process, and keep them. */
static void warm_up(void)
{
    uv_loop_t loop;

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(porter_init(), 0);
}

static void on_keep_cache(void *arg)
{
    struct vu_bench *b = arg;

    b->keeps++;
}

static int start(void **state, bool is_slow, unsigned keep_ms)
{
    static struct vu_bench bench;
    struct vu_bench *b = &bench;
    struct vhost_user_opts opts = {.name = "vda",
                                   .rights = SOCKET_OWN(0600),
                                   .socket_path = b->path,
                                   .keep_cache = on_keep_cache,
                                   .arg = b,
                                   .keep_ms = keep_ms,
                                   .state_ms = keep_ms};
    struct err err = {0};

    memset(b, 0, sizeof(*b));
    warm_up();
    b->fds_before = fd_count();
    capture_log(b);
    assert_int_equal(uv_loop_init(&b->loop), 0);
    strcpy(b->dir, "/tmp/vblk-vu-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->path, sizeof(b->path), "%s/vda.sock", b->dir);
    open_device(b, is_slow);
    open_memory(b);
    assert_int_equal(vhost_user_start(&b->vu, &b->loop, &b->dev, &opts, &err), 0);
    b->peer = bench_connect(b);
    *state = b;
    return 0;
}

int bench_start(void **state)
{
    return start(state, false, 0);
}

int bench_start_slow(void **state)
{
    return start(state, true, 0);
}

int bench_start_hasty(void **state)
{
    return start(state, false, 20);
}

static void on_stopped(void *arg)
{
    struct vu_bench *b = arg;

    b->vu = NULL;
}

static bool is_stopped(struct vu_bench *b)
{
    return !b->vu;
}

static bool is_drained(struct vu_bench *b)
{
    return b->dev.lanes.first.flight.guest == 0;
}

static void on_device_closed(void *arg)
{
    struct vu_bench *b = arg;

    b->dev.view.name = NULL;
}

static bool is_device_closed(struct vu_bench *b)
{
    return !b->dev.view.name;
}

static void close_quietly(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

int bench_stop(void **state)
{
    struct vu_bench *b = *state;

    device_pause(&b->dev, PAUSE_EXIT, NULL);
    gate_open();
    bench_wait(b, is_drained);
    if (b->vu) {
        vhost_user_stop(b->vu, on_stopped, b);
    }
    bench_wait(b, is_stopped);
    image_close(device_detach(&b->dev));
    device_close(&b->dev, on_device_closed, b);
    bench_wait(b, is_device_closed);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    close_quietly(b->peer);
    munmap(b->mem, BENCH_MEM_BYTES);
    close(b->mem_fd);
    close(b->kick);
    close(b->call);
    release_log(b);
    assert_return_code(rmdir(b->dir), errno);
    fd_count_is_again(b->fds_before);
    return 0;
}
