/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/block/image.h"
#include "core/block/path.h"
#include "core/device/device_state.h"
#include "core/block/error_policy.h"
#include "core/device/limiter.h"
#include "tests/unit/chance.h"
#include "tests/unit/device_end.h"
#include "tests/unit/device_guest.h"

#define RINGS 4u
#define RING_SIZE 64u
#define DEPTH 16u
#define DATA_BYTES 4096u
#define DISK_BYTES (1ull << 30)
#define PATIENCE_NS (30 * NS_PER_S)

/* ---- an image that fails as it is told to; lanes share it ---- */

static struct {
    _Atomic int result[IO_ZERO + 1];
    _Atomic unsigned count[IO_ZERO + 1];
    _Atomic uint64_t fails_below; /* bytes: what begins there, 0: all */
    _Atomic int lost;
    _Atomic bool is_shut; /* nothing ends */
} bad;

struct bad_path {
    struct path path;
    struct io_list started;
    int fd;
};

static struct bad_path *bad_of(struct path *path)
{
    return containerof(path, struct bad_path, path);
}

static int bad_open(struct node *node, const void *arg, struct err *err)
{
    node->facts.size = DISK_BYTES;
    node->facts.block_size = node->facts.logical_block = node->facts.physical_block = SECTOR_SIZE;
    node->facts.can_zero = true;
    return 0;
}

static int bad_attach(struct path *path, struct err *err)
{
    bad_of(path)->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(bad_of(path)->fd >= 0);
    io_list_init(&bad_of(path)->started);
    path->facts.max_inflight = 64;
    return 0;
}

static void bad_detach(struct path *path)
{
    close(bad_of(path)->fd);
}

static int bad_fd(const struct path *path)
{
    return containerof(path, struct bad_path, path)->fd;
}

static void bad_start(struct path *path, struct io *io)
{
    bad.count[io->op]++;
    io_list_append(&bad_of(path)->started, io);
    path->must_look = bad.is_shut;
}

static int result_of(const struct io *io)
{
    return bad.fails_below == 0 || io->offset < bad.fails_below ? bad.result[io->op] : 0;
}

static unsigned bad_end(struct path *path)
{
    unsigned count = 0;

    while (!bad.is_shut && bad_of(path)->started.first) {
        struct io *io = io_list_take(&bad_of(path)->started);

        if (io->op == IO_READ) {
            memset(io->iov[0].iov_base, 0xee, io->iov[0].iov_len / 2); /* a part of it */
        }
        io_end(io, result_of(io));
        count++;
    }
    path->must_look = bad_of(path)->started.first != NULL;
    return count;
}

static struct submitted bad_submit(struct path *path)
{
    return (struct submitted){.operations = bad_end(path)};
}

static bool bad_is_held_back(const struct path *path)
{
    return containerof(path, struct bad_path, path)->started.first && !bad.is_shut;
}

static struct image_loss bad_loss(const struct node *node)
{
    return (struct image_loss){.code = bad.lost};
}

static const struct leaf_ops bad_leaf = {
    .fd = bad_fd, .submit = bad_submit, .reap = bad_end, .is_held_back = bad_is_held_back};

static const struct node_ops bad_ops = {
    .type = "bad",
    .node_bytes = sizeof(struct node),
    .path_bytes = sizeof(struct bad_path),
    .open = bad_open,
    .attach = bad_attach,
    .detach = bad_detach,
    .start = bad_start,
    .loss = bad_loss,
    .leaf = &bad_leaf,
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

static const uint64_t modern = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                               1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;

#define run_until(w, what)                              \
    do {                                                \
        uint64_t deadline_ns_ = now_ns() + PATIENCE_NS; \
        while (!(what)) {                               \
            assert_true(now_ns() < deadline_ns_);       \
            uv_run(&(w)->loop, UV_RUN_NOWAIT);          \
        }                                               \
    } while (0)

static void turns(struct world *w, unsigned count)
{
    while (count-- > 0) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
}

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

static void forget_bad(void)
{
    for (unsigned i = 0; i <= IO_ZERO; i++) {
        bad.result[i] = 0;
        bad.count[i] = 0;
    }
    bad.fails_below = 0;
    bad.lost = 0;
    bad.is_shut = false;
}

static int start_world(struct world *w, uint64_t features)
{
    struct blk_opts blk = {.capacity = DISK_BYTES,
                           .logical_block = 512,
                           .physical_block = 512,
                           .discard_block = 512,
                           .zeroes = BLK_ZEROES_UNMAP,
                           .queues = RINGS,
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {.name = "vda",
                               .queues = RINGS,
                               .queue_size_max = RING_SIZE,
                               .has_packed = true,
                               .has_in_order = true,
                               .awaited = &w->awaited};
    struct frontend_opts guest = {.queues = RINGS,
                                  .queue_size = RING_SIZE,
                                  .depth = DEPTH,
                                  .request_bytes = DATA_BYTES,
                                  .is_packed = features >> VIRTIO_F_RING_PACKED & 1};
    struct image *image;
    struct node *root;

    memset(w, 0, sizeof(*w));
    forget_bad();
    assert(uv_loop_init(&w->loop) == 0);
    assert(device_init(&w->dev, &w->loop, &opts, &blk, NULL) == 0);
    assert(node_open(&root, &bad_ops, NULL, NULL, NULL) == 0);
    assert(image_new(&image, root) == 0);
    assert(device_attach(&w->dev, image, NULL) == 0);
    frontend_init(&w->guest, &guest);
    for (unsigned i = 0; guest.is_packed && i < RINGS; i++) {
        struct ring_driver *drv = w->guest.ring[i].drv;

        ring_driver_init_packed(drv, drv->size, drv->packed, drv->offset, drv->chain);
    }
    device_guest_start(&w->dev, &w->guest, features);
    return 0;
}

static struct world the_world;

static int world_start(void **state)
{
    *state = &the_world;
    return start_world(&the_world, modern | 1ull << VIRTIO_BLK_F_FLUSH);
}

/* Each write is to be stable. */
static int world_start_stable(void **state)
{
    *state = &the_world;
    return start_world(&the_world, modern);
}

static int world_start_in_order(void **state)
{
    *state = &the_world;
    return start_world(&the_world, modern | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_F_IN_ORDER);
}

static int world_start_packed(void **state)
{
    *state = &the_world;
    return start_world(&the_world,
                       modern | 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_F_RING_PACKED);
}

static int world_stop(void **state)
{
    struct world *w = *state;

    bad.is_shut = false;
    pause_drained(w, PAUSE_EXIT);
    device_end(&w->dev, &w->loop);
    frontend_fini(&w->guest);
    return 0;
}

static void set_policy(struct world *w, enum error_action read, enum error_action write)
{
    struct error_policy policy = {.read = read, .write = write};

    device_set_errors(&w->dev, &policy);
}

static void put(struct world *w, unsigned ring, uint32_t type, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request =
            frontend_prepare(&w->guest.ring[ring], type, (uint64_t)i * 8,
                             type == VIRTIO_BLK_T_FLUSH ? 0 : DATA_BYTES);

        assert_non_null(request);
        memset(request->data, 0xaa, DATA_BYTES);
        frontend_put(request);
    }
    frontend_kick(&w->guest.ring[ring]);
}

static void put_ranges(struct world *w, uint32_t type, unsigned count)
{
    struct virtio_blk_discard_write_zeroes range[DEPTH];
    struct frontend_request *request =
        frontend_prepare(&w->guest.ring[0], type, 0, count * (unsigned)sizeof(range[0]));

    assert_non_null(request);
    for (unsigned i = 0; i < count; i++) {
        range[i] = (struct virtio_blk_discard_write_zeroes){.sector = 8ull * i, .num_sectors = 8};
    }
    memcpy(request->data, range, count * sizeof(range[0]));
    frontend_put(request);
    frontend_kick(&w->guest.ring[0]);
}

static unsigned used(const struct world *w, unsigned ring)
{
    return frontend_used_count(&w->guest.ring[ring]);
}

/* So many, all with this status. */
static void reap(struct world *w, unsigned ring, unsigned count, uint8_t status)
{
    for (unsigned i = 0; i < count; i++) {
        struct frontend_request *request;

        run_until(w, (request = frontend_reap(&w->guest.ring[ring])));
        assert_int_equal(request->blk->status, status);
        frontend_release(request);
    }
    assert_null(frontend_reap(&w->guest.ring[ring]));
}

static uint8_t do_one(struct world *w, uint32_t type)
{
    struct frontend_request *request;
    uint8_t status;

    put(w, 0, type, 1);
    run_until(w, (request = frontend_reap(&w->guest.ring[0])));
    status = request->blk->status;
    frontend_release(request);
    return status;
}

static struct device_info info_of(struct world *w)
{
    static struct device_info info;

    device_info(&w->dev, &info);
    return info;
}

static bool is_paused(struct world *w)
{
    return w->dev.view.pause_mask & PAUSE_ERROR;
}

static void await_pause(struct world *w, unsigned held)
{
    run_until(w, is_paused(w));
    run_until(w, info_of(w).stats.inflight == 0);
    assert_int_equal(info_of(w).stats.held, held);
}

/* ---- what is asked for ---- */

static void action_is_known_by_its_name(void **state)
{
    enum error_action action = ERROR_REPORT;

    assert_true(error_action_parse("enospc", &action));
    assert_int_equal(action, ERROR_ENOSPC);
    assert_true(error_action_parse("ignore", &action));
    assert_int_equal(action, ERROR_IGNORE);
    assert_false(error_action_parse("retry", &action));
}

static enum error_action action_for(enum error_action write, enum io_op op, unsigned flags,
                                    int code, bool has_lost)
{
    struct error_policy policy = {.write = write};
    struct io io = {.op = op, .flags = (uint16_t)flags, .result = code};

    return error_policy_of(&policy, &io, has_lost);
}

static void image_that_was_shrunk_is_told_of(void **state)
{
    assert_string_equal(error_text(-EIO), strerror(EIO));
    assert_string_equal(error_text(-ENODATA), "the image ends before that, it was shrunk");
}

static void failed_sync_is_reported_whatever_is_asked_for(void **state)
{
    for (unsigned i = ERROR_REPORT; i <= ERROR_ENOSPC; i++) {
        enum error_action action = (enum error_action)i;

        assert_int_equal(action_for(action, IO_FLUSH, 0, -EIO, false), ERROR_REPORT);
        assert_int_equal(action_for(action, IO_FLUSH, 0, -ENOSPC, false), ERROR_REPORT);
        assert_int_equal(action_for(action, IO_WRITE, IO_FUA, -EIO, true), ERROR_REPORT);
        assert_int_equal(action_for(action, IO_WRITE, IO_FUA, -ENOSPC, true), ERROR_REPORT);
        assert_int_equal(action_for(action, IO_ZERO, IO_FUA, -EIO, false), ERROR_REPORT);
    }
    assert_int_equal(action_for(ERROR_IGNORE, IO_WRITE, IO_FUA, -EIO, false), ERROR_REPORT);
}

static void stable_write_without_room_can_be_done_again(void **state)
{
    assert_int_equal(action_for(ERROR_ENOSPC, IO_WRITE, IO_FUA, -ENOSPC, false), ERROR_STOP);
    assert_int_equal(action_for(ERROR_ENOSPC, IO_ZERO, IO_FUA, -EDQUOT, false), ERROR_STOP);
    assert_int_equal(action_for(ERROR_STOP, IO_WRITE, IO_FUA, -EIO, false), ERROR_STOP);
    assert_int_equal(action_for(ERROR_STOP, IO_WRITE, 0, -EIO, true), ERROR_STOP);
}

static void buffers_that_are_not_there_are_the_guests_fault(void **state)
{
    for (unsigned i = ERROR_REPORT; i <= ERROR_ENOSPC; i++) {
        assert_int_equal(action_for((enum error_action)i, IO_WRITE, 0, -EFAULT, false),
                         ERROR_REPORT);
    }
}

/* ---- ignored ---- */

static void ignored_read_delivers_zeroes(void **state)
{
    static const uint8_t zeroes[DATA_BYTES];
    struct world *w = *state;
    struct frontend_request *request;

    set_policy(w, ERROR_IGNORE, ERROR_REPORT);
    bad.result[IO_READ] = -EIO;
    put(w, 0, VIRTIO_BLK_T_IN, 1);
    run_until(w, (request = frontend_reap(&w->guest.ring[0])));
    assert_int_equal(request->blk->status, VIRTIO_BLK_S_OK);
    assert_memory_equal(request->data, zeroes, DATA_BYTES);
    frontend_release(request);
    assert_int_equal(info_of(w).stats.ignored, 1);
    assert_int_equal(info_of(w).stats.type[STATS_READ].errors, 0);
    bad.result[IO_WRITE] = -EIO;
    assert_int_equal(do_one(w, VIRTIO_BLK_T_OUT), VIRTIO_BLK_S_IOERR);
}

static void ignored_write_is_answered_with_ok_and_a_flush_is_not(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_IGNORE);
    bad.result[IO_WRITE] = bad.result[IO_FLUSH] = bad.result[IO_READ] = -EIO;
    assert_int_equal(do_one(w, VIRTIO_BLK_T_OUT), VIRTIO_BLK_S_OK);
    assert_int_equal(do_one(w, VIRTIO_BLK_T_FLUSH), VIRTIO_BLK_S_IOERR);
    assert_int_equal(do_one(w, VIRTIO_BLK_T_IN), VIRTIO_BLK_S_IOERR);
}

static void write_that_is_to_be_stable_is_not_ignored(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_IGNORE);
    bad.result[IO_WRITE] = -EIO;
    assert_int_equal(do_one(w, VIRTIO_BLK_T_OUT), VIRTIO_BLK_S_IOERR);
}

/* The first of them fails. */
static void ignored_range_leaves_out_no_other(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_IGNORE);
    bad.result[IO_DISCARD] = bad.result[IO_ZERO] = -EIO;
    bad.fails_below = 4096;
    put_ranges(w, VIRTIO_BLK_T_DISCARD, 5);
    reap(w, 0, 1, VIRTIO_BLK_S_OK);
    assert_int_equal(bad.count[IO_DISCARD], 5);
    put_ranges(w, VIRTIO_BLK_T_WRITE_ZEROES, 3);
    reap(w, 0, 1, VIRTIO_BLK_S_OK);
    assert_int_equal(bad.count[IO_ZERO], 3);
    assert_int_equal(info_of(w).stats.ignored, 2);
}

/* ---- the disk pauses ---- */

static void write_without_room_pauses_the_disk_until_it_is_started(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_ENOSPC);
    bad.result[IO_WRITE] = -ENOSPC;
    put(w, 0, VIRTIO_BLK_T_OUT, 3);
    await_pause(w, 3);
    put(w, 1, VIRTIO_BLK_T_IN, 2);
    turns(w, 5);
    assert_int_equal(used(w, 0) + used(w, 1), 0);
    assert_int_equal(bad.count[IO_READ], 0);
    assert_int_equal(info_of(w).held.count[STATS_WRITE], 3);
    assert_int_equal(info_of(w).held.first.code, -ENOSPC);
    assert_int_equal(info_of(w).held.first.length, DATA_BYTES);
    bad.result[IO_WRITE] = 0;
    assert_true(device_retry(&w->dev));
    reap(w, 0, 3, VIRTIO_BLK_S_OK);
    reap(w, 1, 2, VIRTIO_BLK_S_OK);
    assert_false(is_paused(w));
    assert_int_equal(info_of(w).held.first.code, 0);
    assert_false(device_retry(&w->dev));
}

static void other_errors_are_reported_where_room_is_waited_for(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_ENOSPC);
    bad.result[IO_WRITE] = -EIO;
    assert_int_equal(do_one(w, VIRTIO_BLK_T_OUT), VIRTIO_BLK_S_IOERR);
    assert_false(is_paused(w));
    bad.result[IO_WRITE] = -EDQUOT;
    put(w, 0, VIRTIO_BLK_T_OUT, 1);
    await_pause(w, 1);
}

static void read_that_fails_pauses_the_disk_if_asked_to(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_STOP, ERROR_REPORT);
    bad.result[IO_READ] = -EIO;
    put(w, 0, VIRTIO_BLK_T_IN, 1);
    await_pause(w, 1);
    bad.result[IO_READ] = 0;
    device_retry(&w->dev);
    reap(w, 0, 1, VIRTIO_BLK_S_OK);
}

static void failure_after_a_start_pauses_again(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    put(w, 0, VIRTIO_BLK_T_OUT, DEPTH);
    await_pause(w, DEPTH);
    for (unsigned i = 1; i <= 3; i++) {
        unsigned before = bad.count[IO_WRITE];

        assert_true(device_retry(&w->dev));
        await_pause(w, DEPTH);
        assert_true(bad.count[IO_WRITE] > before);
    }
    bad.result[IO_WRITE] = 0;
    device_retry(&w->dev);
    reap(w, 0, DEPTH, VIRTIO_BLK_S_OK);
}

/* One is given to the image at a time, and the first fails again. */
static void held_requests_that_were_not_tried_wait_for_the_next_start(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    put(w, 0, VIRTIO_BLK_T_OUT, DEPTH);
    await_pause(w, DEPTH);
    device_set_batch(&w->dev, 1);
    assert_true(device_retry(&w->dev));
    await_pause(w, DEPTH);
    assert_int_equal(bad.count[IO_WRITE], DEPTH + 1);
    assert_int_equal(info_of(w).held.count[STATS_WRITE], 1);
    bad.result[IO_WRITE] = 0;
    assert_true(device_retry(&w->dev));
    reap(w, 0, DEPTH, VIRTIO_BLK_S_OK);
    assert_int_equal(bad.count[IO_WRITE], 2 * DEPTH + 1);
}

static void zeroes_that_fail_half_way_are_done_again_as_a_whole(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_ENOSPC);
    bad.result[IO_ZERO] = -ENOSPC;
    put_ranges(w, VIRTIO_BLK_T_WRITE_ZEROES, 3);
    await_pause(w, 1);
    assert_int_equal(bad.count[IO_ZERO], 1);
    assert_int_equal(info_of(w).held.count[STATS_ZEROES], 1);
    bad.result[IO_ZERO] = 0;
    device_retry(&w->dev);
    reap(w, 0, 1, VIRTIO_BLK_S_OK);
    assert_int_equal(bad.count[IO_ZERO], 4);
}

static void stable_write_is_not_tried_again_once_the_image_has_lost_data(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -ENOSPC;
    put(w, 0, VIRTIO_BLK_T_OUT, 1);
    await_pause(w, 1);
    bad.result[IO_WRITE] = -EIO;
    bad.lost = -EIO;
    device_retry(&w->dev);
    reap(w, 0, 1, VIRTIO_BLK_S_IOERR);
    assert_false(is_paused(w));
}

static void paused_disk_sleeps(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    put(w, 0, VIRTIO_BLK_T_OUT, 2);
    await_pause(w, 2);
    turns(w, 10);
    assert_false(w->dev.lanes.first.has_turn_work);
    assert_false(uv_is_active((uv_handle_t *)&w->dev.lanes.first.idle));
    assert_int_equal(w->dev.lanes.first.quiet, 0); /* kicks are on */
}

static void new_policy_counts_from_the_next_failure(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    put(w, 0, VIRTIO_BLK_T_OUT, 1);
    await_pause(w, 1);
    set_policy(w, ERROR_REPORT, ERROR_REPORT);
    turns(w, 3);
    assert_true(is_paused(w));
    device_retry(&w->dev);
    reap(w, 0, 1, VIRTIO_BLK_S_IOERR);
}

/* ---- several threads ---- */

static void use_lanes(struct world *w, unsigned count)
{
    pause_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, count, NULL, NULL), 0);
    device_resume(&w->dev, PAUSE_MOVE);
}

static void all_lanes_pause(void **state)
{
    struct world *w = *state;

    use_lanes(w, RINGS);
    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    put(w, 2, VIRTIO_BLK_T_OUT, 1);
    await_pause(w, 1);
    bad.result[IO_WRITE] = 0;
    for (unsigned i = 0; i < RINGS; i++) {
        put(w, i, VIRTIO_BLK_T_IN, 2);
    }
    turns(w, 20);
    assert_int_equal(bad.count[IO_READ], 0);
    use_lanes(w, 1); /* what is held moves along */
    assert_true(is_paused(w));
    use_lanes(w, 3);
    device_retry(&w->dev);
    for (unsigned i = 0; i < RINGS; i++) {
        reap(w, i, i == 2 ? 3 : 2, VIRTIO_BLK_S_OK);
    }
}

static void lanes_that_fail_again_and_again_lose_nothing(void **state)
{
    struct world *w = *state;

    use_lanes(w, RINGS);
    set_policy(w, ERROR_STOP, ERROR_STOP);
    for (unsigned round = 0; round < 50; round++) {
        bad.result[IO_WRITE] = -EIO;
        for (unsigned i = 0; i < RINGS; i++) {
            put(w, i, VIRTIO_BLK_T_OUT, 8);
            put(w, i, VIRTIO_BLK_T_IN, 4);
        }
        run_until(w, is_paused(w));
        device_retry(&w->dev);
        turns(w, round % 3);
        use_lanes(w, round % RINGS + 1);
        bad.result[IO_WRITE] = 0;
        for (unsigned i = 0; i < RINGS; i++) {
            run_until(w, (device_retry(&w->dev), used(w, i) == 12));
            reap(w, i, 12, VIRTIO_BLK_S_OK);
        }
        device_retry(&w->dev);
        run_until(w, !is_paused(w));
    }
}

/* ---- the end of a pause without a start ---- */

static void stop_ring(struct world *w, unsigned index)
{
    unsigned before = w->times_drained;

    w->drain = (struct drain){.done = on_drained};
    device_ring_pause(&w->dev, index, &w->drain);
    run_until(w, w->times_drained > before);
    (void)device_ring_stop(&w->dev, index);
}

static void pause_ends_with_the_ring_that_holds(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    bad.is_shut = true;
    put(w, 0, VIRTIO_BLK_T_OUT, 2);
    put(w, 1, VIRTIO_BLK_T_OUT, 1);
    run_until(w, bad.count[IO_WRITE] == 3);
    bad.is_shut = false;
    await_pause(w, 3);
    stop_ring(w, 0);
    reap(w, 0, 2, VIRTIO_BLK_S_IOERR);
    assert_true(is_paused(w));
    stop_ring(w, 1);
    reap(w, 1, 1, VIRTIO_BLK_S_IOERR);
    assert_false(is_paused(w));
    assert_int_equal(info_of(w).held.first.code, 0);
}

static void front_end_that_leaves_ends_the_pause(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    put(w, 0, VIRTIO_BLK_T_OUT, 2);
    await_pause(w, 2);
    pause_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
    reap(w, 0, 2, VIRTIO_BLK_S_IOERR);
    assert_false(is_paused(w));
}

static void removal_answers_what_is_held(void **state)
{
    struct world *w = *state;

    set_policy(w, ERROR_REPORT, ERROR_STOP);
    bad.result[IO_WRITE] = -EIO;
    put(w, 0, VIRTIO_BLK_T_OUT, 2);
    await_pause(w, 2);
    pause_drained(w, PAUSE_EXIT);
    device_fail_held(&w->dev);
    reap(w, 0, 2, VIRTIO_BLK_S_IOERR);
    assert_int_equal(info_of(w).stats.held, 0);
}

/* ---- all of it, with limits ---- */

static uint32_t base_of_stopped(struct world *w, unsigned index)
{
    unsigned before = w->times_drained;

    w->drain = (struct drain){.done = on_drained};
    device_ring_pause(&w->dev, index, &w->drain);
    run_until(w, w->times_drained > before);
    return device_ring_stop(&w->dev, index);
}

static void exchange_memory(struct world *w)
{
    pause_drained(w, PAUSE_MESSAGE);
    device_memory_clear(&w->dev);
    device_guest_share(&w->dev, &w->guest);
    device_memory_changed(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
}

/* As when a front-end leaves and comes back: what was taken is answered by then. */
static void connect_again(struct world *w)
{
    uint64_t features = device_accepted(&w->dev);
    uint32_t bases[RINGS];

    for (unsigned i = 0; i < RINGS; i++) {
        bases[i] = base_of_stopped(w, i);
    }
    pause_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
    device_guest_share(&w->dev, &w->guest);
    device_guest_accept(&w->dev, &w->guest, features);
    for (unsigned i = 0; i < RINGS; i++) {
        device_guest_start_ring(&w->dev, &w->guest, i, bases[i]);
    }
    device_resume(&w->dev, PAUSE_GONE);
}

static void set_some_limits(struct world *w, struct limit_member *member)
{
    struct rates from, to = {0};

    limit_rates(member, &from);
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        to.of[i].seconds = 1;
    }
    to.of[chance(RATE_BPS)].average = 1 + chance(3000);
    if (chance(2)) {
        to.of[RATE_BPS + chance(3)].average = 4096 + chance(64u << 20);
    }
    assert_true(limit_set(member, &from, &to, now_ns()));
    device_set_throttle(&w->dev, &member->throttle);
}

static void put_some(struct world *w)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH};
    unsigned ring = chance(RINGS);
    unsigned room = DEPTH - w->guest.ring[ring].inflight;

    if (chance(8) == 0 && w->guest.ring[0].inflight < DEPTH) {
        put_ranges(w, chance(2) ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES, 1 + chance(4));
    } else {
        put(w, ring, types[chance(ARRAY_SIZE(types))], min_of(1 + chance(6), room));
    }
}

static void do_something(struct world *w, struct limit_member *member)
{
    static const int results[] = {0, 0, -EIO, -ENOSPC};
    unsigned ring = chance(RINGS);

    switch (chance(18)) {
    case 0:
        set_policy(w, (enum error_action)chance(3), (enum error_action)chance(4));
        return;
    case 1:
        bad.result[chance(IO_ZERO + 1)] = results[chance(ARRAY_SIZE(results))];
        return;
    case 2:
    case 3:
        (void)device_retry(&w->dev);
        return;
    case 4:
        pause_drained(w, PAUSE_ADMIN);
        device_resume(&w->dev, PAUSE_ADMIN);
        return;
    case 5:
        use_lanes(w, 1 + ring);
        return;
    case 6:
        device_guest_start_ring(&w->dev, &w->guest, ring, base_of_stopped(w, ring));
        return;
    case 7:
        exchange_memory(w);
        return;
    case 8:
        connect_again(w);
        return;
    case 9:
        set_some_limits(w, member);
        return;
    case 10:
        device_set_throttle(&w->dev, NULL);
        return;
    default:
        put_some(w);
    }
}

/* Returns how many are not done yet. */
static unsigned take_what_is_there(struct world *w)
{
    struct frontend_request *request;
    unsigned left = 0;

    for (unsigned i = 0; i < RINGS; i++) {
        while ((request = frontend_reap(&w->guest.ring[i]))) {
            assert_in_range(request->blk->status, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_IOERR);
            frontend_release(request);
        }
        left += w->guest.ring[i].inflight;
    }
    return left;
}

static void nothing_is_lost_whatever_happens_meanwhile(void **state)
{
    const struct rates none = {0};
    struct limit_member member;
    struct world *w = *state;

    chance_begin();
    assert_int_equal(limit_join(&member, "", &none, NULL, NULL), 0);
    for (unsigned i = 0; i < 600; i++) {
        do_something(w, &member);
        turns(w, chance(3));
        (void)take_what_is_there(w);
    }
    forget_bad();
    device_set_throttle(&w->dev, NULL);
    run_until(w, (device_retry(&w->dev), take_what_is_there(w) == 0));
    assert_false(is_paused(w));
    assert_int_equal(info_of(w).stats.held + info_of(w).stats.throttled, 0);
    limit_leave(&member);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)
#define in_stable_world(test) cmocka_unit_test_setup_teardown(test, world_start_stable, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(action_is_known_by_its_name),
        cmocka_unit_test(image_that_was_shrunk_is_told_of),
        cmocka_unit_test(failed_sync_is_reported_whatever_is_asked_for),
        cmocka_unit_test(stable_write_without_room_can_be_done_again),
        cmocka_unit_test(buffers_that_are_not_there_are_the_guests_fault),
        in_world(ignored_read_delivers_zeroes),
        in_world(ignored_write_is_answered_with_ok_and_a_flush_is_not),
        in_stable_world(write_that_is_to_be_stable_is_not_ignored),
        in_world(ignored_range_leaves_out_no_other),
        in_world(write_without_room_pauses_the_disk_until_it_is_started),
        in_world(other_errors_are_reported_where_room_is_waited_for),
        in_world(read_that_fails_pauses_the_disk_if_asked_to),
        in_world(failure_after_a_start_pauses_again),
        in_world(held_requests_that_were_not_tried_wait_for_the_next_start),
        in_world(zeroes_that_fail_half_way_are_done_again_as_a_whole),
        in_stable_world(stable_write_is_not_tried_again_once_the_image_has_lost_data),
        in_world(paused_disk_sleeps),
        in_world(new_policy_counts_from_the_next_failure),
        in_world(all_lanes_pause),
        in_world(lanes_that_fail_again_and_again_lose_nothing),
        in_world(pause_ends_with_the_ring_that_holds),
        in_world(front_end_that_leaves_ends_the_pause),
        in_world(removal_answers_what_is_held),
        in_world(nothing_is_lost_whatever_happens_meanwhile),
        in_stable_world(nothing_is_lost_whatever_happens_meanwhile),
        cmocka_unit_test_setup_teardown(failure_after_a_start_pauses_again, world_start_in_order,
                                        world_stop),
        cmocka_unit_test_setup_teardown(lanes_that_fail_again_and_again_lose_nothing,
                                        world_start_in_order, world_stop),
        cmocka_unit_test_setup_teardown(nothing_is_lost_whatever_happens_meanwhile,
                                        world_start_in_order, world_stop),
        cmocka_unit_test_setup_teardown(nothing_is_lost_whatever_happens_meanwhile,
                                        world_start_packed, world_stop),
    };

    return unit_run(tests);
}
