/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/iov.h"
#include "core/block/path.h"
#include "core/device/device_state.h"
#include "tests/unit/device_end.h"
#include "tests/unit/device_guest.h"

#define RINGS 2u
#define RING_SIZE 64u
#define DISK_BYTES (16ull << 20)
#define REQUEST_BYTES (5u << 20)
#define PAGE 4096u
#define PATIENCE_NS (30 * NS_PER_S)

/* ---- an image in memory, which tells what was asked of it ---- */

static struct {
    pthread_mutex_t lock; /* over all of it: lanes share it */
    uint8_t *bytes;
    bool cannot_zero;
    int zero_error;  /* of a zeroing, which has then spoiled its range; 0: it is done */
    int write_error; /* of a write */
    bool is_late;    /* what is done is told by a reap */
    unsigned writes;
    unsigned zeroes;
    unsigned unmapped; /* of the zeroes: they allowed it */
    unsigned stable;   /* of both */
} ram = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct ram_path {
    struct path path;
    struct io_list started;
    struct io_list done;
    int fd;
};

static struct ram_path *ram_of(struct path *path)
{
    return containerof(path, struct ram_path, path);
}

static int ram_open(struct node *node, const void *arg, struct err *err)
{
    node->facts.size = DISK_BYTES;
    node->facts.block_size = node->facts.logical_block = node->facts.physical_block = SECTOR_SIZE;
    node->facts.can_zero = !ram.cannot_zero;
    return 0;
}

static int ram_attach(struct path *path, struct err *err)
{
    ram_of(path)->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(ram_of(path)->fd >= 0);
    io_list_init(&ram_of(path)->started);
    io_list_init(&ram_of(path)->done);
    path->facts.max_inflight = 64;
    return 0;
}

static void ram_detach(struct path *path)
{
    close(ram_of(path)->fd);
}

static int ram_fd(const struct path *path)
{
    return containerof(path, struct ram_path, path)->fd;
}

static void ram_start(struct path *path, struct io *io)
{
    io_list_append(&ram_of(path)->started, io);
}

static int ram_zero(const struct io *io)
{
    ram.zeroes++;
    ram.unmapped += !!(io->flags & IO_MAY_UNMAP);
    memset(ram.bytes + io->offset, ram.zero_error ? 0xee : 0, io->length);
    return ram.zero_error;
}

static int ram_write(const struct io *io)
{
    struct iov_place place = {0};

    assert_int_equal(io->flags & IO_MAY_UNMAP, 0);
    ram.writes++;
    if (ram.write_error == 0) {
        iov_gather(io->iov, &place, ram.bytes + io->offset, io->length);
    }
    return ram.write_error;
}

static int ram_do(const struct io *io)
{
    struct iov_place place = {0};
    int ret = 0;

    pthread_mutex_lock(&ram.lock);
    ram.stable += !!(io->flags & IO_FUA);
    if (io->op == IO_ZERO) {
        ret = ram_zero(io);
    } else if (io->op == IO_WRITE) {
        ret = ram_write(io);
    } else if (io->op == IO_READ) {
        iov_scatter(io->iov, &place, ram.bytes + io->offset, io->length);
    }
    pthread_mutex_unlock(&ram.lock);
    return ret;
}

static struct submitted ram_submit(struct path *path)
{
    struct submitted submitted = {0};

    while (ram_of(path)->started.first) {
        struct io *io = io_list_take(&ram_of(path)->started);

        io->result = ram_do(io);
        submitted.operations++;
        if (ram.is_late) {
            io_list_append(&ram_of(path)->done, io);
            assert_int_equal(eventfd_write(ram_of(path)->fd, 1), 0);
        } else {
            io_end(io, io->result);
        }
    }
    return submitted;
}

static unsigned ram_reap(struct path *path)
{
    unsigned count = 0;

    for (; ram_of(path)->done.first; count++) {
        struct io *io = io_list_take(&ram_of(path)->done);

        io_end(io, io->result);
    }
    return count;
}

static bool ram_is_held_back(const struct path *path)
{
    return containerof(path, struct ram_path, path)->started.first;
}

static const struct leaf_ops ram_leaf = {
    .fd = ram_fd, .submit = ram_submit, .reap = ram_reap, .is_held_back = ram_is_held_back};

static const struct node_ops ram_ops = {
    .type = "ram",
    .node_bytes = sizeof(struct node),
    .path_bytes = sizeof(struct ram_path),
    .open = ram_open,
    .attach = ram_attach,
    .detach = ram_detach,
    .start = ram_start,
    .leaf = &ram_leaf,
};

/* ---- a device on it, and its guest ---- */

struct world {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct frontend guest;
    struct drain drain;
    unsigned times_drained;
};

static const uint64_t modern =
    1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_FLUSH;

#define run_until(w, what)                              \
    do {                                                \
        uint64_t deadline_ns_ = now_ns() + PATIENCE_NS; \
        while (!(what)) {                               \
            assert_true(now_ns() < deadline_ns_);       \
            uv_run(&(w)->loop, UV_RUN_NOWAIT);          \
        }                                               \
    } while (0)

static void on_drained(struct drain *drain)
{
    containerof(drain, struct world, drain)->times_drained++;
}

static void pause_drained(struct world *w, enum pause_reason reason)
{
    unsigned before = w->times_drained;

    w->drain = (struct drain){.done = on_drained};
    device_pause(&w->dev, reason, &w->drain);
    run_until(w, w->times_drained > before);
}

static struct image *open_ram(void)
{
    struct image *image;
    struct node *root;

    assert(node_open(&root, &ram_ops, NULL, NULL, NULL) == 0);
    assert(image_new(&image, root) == 0);
    return image;
}

static int world_start(void **state)
{
    static struct world world;
    struct blk_opts blk = {.capacity = DISK_BYTES,
                           .logical_block = 512,
                           .physical_block = 512,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {
        .name = "vda", .queues = RINGS, .queue_size_max = 1024, .awaited = &world.awaited};
    struct frontend_opts guest = {
        .queues = RINGS, .queue_size = RING_SIZE, .depth = 2, .request_bytes = REQUEST_BYTES};
    struct world *w = &world;

    memset(w, 0, sizeof(*w));
    ram.cannot_zero = ram.is_late = false;
    ram.zero_error = ram.write_error = 0;
    ram.writes = ram.zeroes = ram.unmapped = ram.stable = 0;
    ram.bytes = malloc(DISK_BYTES);
    assert(ram.bytes);
    memset(ram.bytes, 0xdd, DISK_BYTES);
    assert(uv_loop_init(&w->loop) == 0);
    assert(device_init(&w->dev, &w->loop, &opts, &blk, NULL) == 0);
    assert(device_attach(&w->dev, open_ram(), NULL) == 0);
    frontend_init(&w->guest, &guest);
    device_guest_start(&w->dev, &w->guest, modern);
    device_set_detect_zeroes(&w->dev, DETECT_ON);
    *state = w;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    pause_drained(w, PAUSE_EXIT);
    device_end(&w->dev, &w->loop);
    frontend_fini(&w->guest);
    free(ram.bytes);
    return 0;
}

/* Of zeroes, but for the byte at `spoiled`, if that is one of them. */
static struct frontend_request *put_write(struct world *w, unsigned ring, uint64_t sector,
                                          uint32_t len, uint32_t spoiled)
{
    struct frontend_request *request =
        frontend_prepare(&w->guest.ring[ring], VIRTIO_BLK_T_OUT, sector, len);

    assert_non_null(request);
    memset(request->data, 0, len);
    if (spoiled < len) {
        ((uint8_t *)request->data)[spoiled] = 0xaa;
    }
    frontend_put(request);
    frontend_kick(&w->guest.ring[ring]);
    return request;
}

static uint8_t reap(struct world *w, unsigned ring)
{
    struct frontend_request *request;
    uint8_t status;

    run_until(w, (request = frontend_reap(&w->guest.ring[ring])));
    status = request->blk->status;
    frontend_release(request);
    return status;
}

#define WHOLE UINT32_MAX

static uint8_t write_at(struct world *w, uint64_t sector, uint32_t len, uint32_t spoiled)
{
    (void)put_write(w, 0, sector, len, spoiled);
    return reap(w, 0);
}

static struct stats stats_of(struct world *w)
{
    struct stats stats;

    device_stats(&w->dev, &stats);
    return stats;
}

/* What lanes have asked for until now is seen. */
static uint8_t byte_at(uint64_t offset)
{
    uint8_t byte;

    pthread_mutex_lock(&ram.lock);
    byte = ram.bytes[offset];
    pthread_mutex_unlock(&ram.lock);
    return byte;
}

/* Of the image from `first` on: `len` bytes are zero, and the ones around them as they were. */
static void assert_zeroed(uint64_t first, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        assert_int_equal(byte_at(first + i), 0);
    }
    assert_true(first == 0 || byte_at(first - 1) == 0xdd);
    assert_true(first + len == DISK_BYTES || byte_at(first + len) == 0xdd);
}

static void assert_asked(unsigned writes, unsigned zeroes, unsigned unmapped)
{
    assert_int_equal(ram.writes, writes);
    assert_int_equal(ram.zeroes, zeroes);
    assert_int_equal(ram.unmapped, unmapped);
}

static void write_of_zeroes_becomes_a_zeroing(void **state)
{
    struct world *w = *state;

    assert_int_equal(write_at(w, 8, 65536, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(0, 1, 0);
    assert_zeroed(8 * SECTOR_SIZE, 65536);
    device_set_detect_zeroes(&w->dev, DETECT_UNMAP);
    assert_int_equal(write_at(w, 1024, 512, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(0, 2, 1);
    assert_zeroed(1024 * SECTOR_SIZE, 512);
    device_set_detect_zeroes(&w->dev, DETECT_OFF);
    assert_int_equal(write_at(w, 2048, 512, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(1, 2, 1);
    assert_int_equal(ram.stable, 0);
}

static void it_is_counted_as_the_write_that_it_was(void **state)
{
    struct world *w = *state;
    struct stats stats;

    assert_int_equal(write_at(w, 0, 4096, WHOLE), VIRTIO_BLK_S_OK);
    assert_int_equal(write_at(w, 8, 4096, 4095), VIRTIO_BLK_S_OK);
    stats = stats_of(w);
    assert_int_equal(stats.type[STATS_WRITE].requests, 2);
    assert_int_equal(stats.type[STATS_WRITE].bytes, 8192);
    assert_int_equal(stats.type[STATS_ZEROES].requests, 0);
    assert_int_equal(stats.turned, 1);
    assert_int_equal(stats.invalid, 0);
}

static void other_data_are_written(void **state)
{
    struct world *w = *state;
    const uint32_t places[] = {0, 1, 511, 512, 4095, 65535};

    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        assert_int_equal(write_at(w, 0, 65536, places[i]), VIRTIO_BLK_S_OK);
        assert_int_equal(ram.bytes[places[i]], 0xaa);
    }
    assert_asked(ARRAY_SIZE(places), 0, 0);
    assert_int_equal(stats_of(w).turned, 0);
}

static void nothing_but_writes_is_turned(void **state)
{
    struct world *w = *state;
    struct frontend_request *request =
        frontend_prepare(&w->guest.ring[0], VIRTIO_BLK_T_IN, 0, 4096);

    memset(request->data, 0, 4096);
    frontend_put(request);
    frontend_put(frontend_prepare(&w->guest.ring[0], VIRTIO_BLK_T_FLUSH, 0, 0));
    frontend_kick(&w->guest.ring[0]);
    assert_int_equal(reap(w, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(reap(w, 0), VIRTIO_BLK_S_OK);
    assert_asked(0, 0, 0);
    assert_int_equal(((uint8_t *)request->data)[0], 0xdd);
}

static void long_writes_are_not_looked_at(void **state)
{
    struct world *w = *state;

    assert_int_equal(write_at(w, 0, 4u << 20, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(0, 1, 0);
    assert_int_equal(write_at(w, 0, (4u << 20) + 512, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(1, 1, 0);
    assert_zeroed(0, (4u << 20) + 512);
}

static void use_image(struct world *w, struct image *image)
{
    pause_drained(w, PAUSE_ADMIN);
    image_close(device_detach(&w->dev));
    assert_int_equal(device_attach(&w->dev, image, NULL), 0);
    device_resume(&w->dev, PAUSE_ADMIN);
}

static void image_that_cannot_zero_is_written(void **state)
{
    struct world *w = *state;

    ram.cannot_zero = true;
    use_image(w, open_ram());
    assert_int_equal(write_at(w, 0, 4096, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(1, 0, 0);
}

static void zeroing_that_fails_is_written(struct world *w, int error)
{
    ram.writes = ram.zeroes = ram.unmapped = 0;
    memset(ram.bytes, 0xdd, 65536);
    ram.zero_error = error;
    assert_int_equal(write_at(w, 8, 4096, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(1, 1, 1);
    assert_zeroed(4096, 4096);
}

static void what_cannot_be_zeroed_is_written_after_all(void **state)
{
    struct world *w = *state;
    struct stats stats;

    device_set_detect_zeroes(&w->dev, DETECT_UNMAP);
    zeroing_that_fails_is_written(w, -EOPNOTSUPP);
    zeroing_that_fails_is_written(w, -EIO);
    ram.is_late = true;
    zeroing_that_fails_is_written(w, -ENOSPC);
    stats = stats_of(w);
    assert_int_equal(stats.turned, 0);
    assert_int_equal(stats.type[STATS_WRITE].requests, 3);
    assert_int_equal(stats.type[STATS_WRITE].errors, 0);
    ram.write_error = -EIO;
    assert_int_equal(write_at(w, 8, 4096, WHOLE), VIRTIO_BLK_S_IOERR);
    assert_int_equal(stats_of(w).type[STATS_WRITE].errors, 1);
}

/* Of an image that fails, and wants a person to look. */
static void what_fails_in_both_ways_is_held_and_turned_again(void **state)
{
    struct image_opts opts = {.type = "null",
                              .size = DISK_BYTES,
                              .error = -EIO,
                              .error_every = 1,
                              .holds_errors = true,
                              .max_inflight = 64};
    struct world *w = *state;
    struct image *image;

    assert_int_equal(image_open(&image, &opts, NULL), 0);
    use_image(w, image);
    (void)put_write(w, 0, 8, 4096, WHOLE);
    run_until(w, stats_of(w).held == 1);
    use_image(w, open_ram());
    assert_true(device_retry(&w->dev));
    assert_int_equal(reap(w, 0), VIRTIO_BLK_S_OK);
    assert_asked(0, 1, 0);
    assert_int_equal(stats_of(w).turned, 1);
    assert_int_equal(stats_of(w).type[STATS_WRITE].requests, 1);
}

static void writethrough_is_stable_when_answered(void **state)
{
    struct world *w = *state;

    w->dev.view.blk.features &= ~BIT(VIRTIO_BLK_F_FLUSH);
    assert_int_equal(write_at(w, 0, 4096, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(0, 1, 0);
    assert_int_equal(ram.stable, 1);
    ram.zero_error = -EIO;
    assert_int_equal(write_at(w, 0, 4096, WHOLE), VIRTIO_BLK_S_OK);
    assert_asked(1, 2, 0);
    assert_int_equal(ram.stable, 3);
}

/* Memory, and what it is written from if it cannot be zeroed, stays until it has ended. */
static void drain_waits_for_what_was_turned(void **state)
{
    struct world *w = *state;

    ram.is_late = true;
    ram.zero_error = -EIO;
    (void)put_write(w, 0, 8, 65536, WHOLE);
    (void)put_write(w, 1, 1024, 65536, WHOLE);
    run_until(w, ram.zeroes == 2);
    pause_drained(w, PAUSE_MESSAGE);
    assert_asked(2, 2, 0);
    device_park(&w->dev);
    device_memory_clear(&w->dev);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    device_unpark(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
    assert_int_equal(reap(w, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(reap(w, 1), VIRTIO_BLK_S_OK);
    assert_zeroed(4096, 65536);
    assert_zeroed(1024 * SECTOR_SIZE, 65536);
    assert_int_equal(write_at(w, 8, 4096, WHOLE), VIRTIO_BLK_S_OK);
}

static void several_threads_turn_each_its_own(void **state)
{
    struct world *w = *state;
    unsigned before;

    ram.is_late = true;
    pause_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, 2, NULL, NULL), 0);
    device_resume(&w->dev, PAUSE_MOVE);
    for (unsigned i = 0; i < 50; i++) {
        pthread_mutex_lock(&ram.lock);
        ram.zero_error = i % 3 == 0 ? -EIO : 0;
        pthread_mutex_unlock(&ram.lock);
        (void)put_write(w, 0, 8, 4096, WHOLE);
        (void)put_write(w, 1, 1024, 4096, i % 2 ? WHOLE : 4000);
        assert_int_equal(reap(w, 0), VIRTIO_BLK_S_OK);
        assert_int_equal(reap(w, 1), VIRTIO_BLK_S_OK);
        assert_zeroed(4096, 4096);
        assert_int_equal(byte_at(1024 * SECTOR_SIZE + 4000), i % 2 ? 0 : 0xaa);
    }
    device_set_detect_zeroes(&w->dev, DETECT_OFF);
    device_park(&w->dev);
    before = ram.zeroes;
    device_unpark(&w->dev);
    (void)put_write(w, 1, 1024, 4096, WHOLE);
    assert_int_equal(reap(w, 1), VIRTIO_BLK_S_OK);
    device_park(&w->dev);
    assert_int_equal(ram.zeroes, before);
    device_unpark(&w->dev);
}

/* The zero pages in its place are not what the guest has written. */
static void memory_that_was_taken_away_zeroes_nothing(void **state)
{
    struct world *w = *state;
    struct frontend_request *request;
    size_t offset;

    mem_guard_install();
    request = put_write(w, 0, 8, 65536, 65535);
    offset = (size_t)((uint8_t *)request->data - w->guest.arena.host);
    assert_int_equal(ftruncate(w->guest.arena.fd, (off_t)round_up(offset + PAGE, PAGE)), 0);
    run_until(w, w->dev.lanes.first.stats.type[STATS_WRITE].requests == 1);
    assert_int_equal(w->dev.lanes.first.stats.type[STATS_WRITE].errors, 1);
    assert_asked(0, 0, 0);
    assert_int_equal(ram.bytes[4096], 0xdd);
    assert_int_equal(ftruncate(w->guest.arena.fd, (off_t)w->guest.arena.size), 0);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(write_of_zeroes_becomes_a_zeroing),
        in_world(it_is_counted_as_the_write_that_it_was),
        in_world(other_data_are_written),
        in_world(nothing_but_writes_is_turned),
        in_world(long_writes_are_not_looked_at),
        in_world(image_that_cannot_zero_is_written),
        in_world(what_cannot_be_zeroed_is_written_after_all),
        in_world(what_fails_in_both_ways_is_held_and_turned_again),
        in_world(writethrough_is_stable_when_answered),
        in_world(drain_waits_for_what_was_turned),
        in_world(several_threads_turn_each_its_own),
        in_world(memory_that_was_taken_away_zeroes_nothing),
    };

    return unit_run(tests);
}
