/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <linux/virtio_config.h>
#include <string.h>

#include "core/virtio/blk.h"
#include "core/driver/blk_driver.h"
#include "core/base/iov.h"
#include "core/virtio/ring.h"
#include "tests/lib/arena.h"
#include "tests/lib/find_parts.h"

#define GUEST 0x100000ull
#define ARENA_BYTES 0x800000u
#define DISK_BYTES (4u << 20)
#define DISK_SECTORS (DISK_BYTES / SECTOR_SIZE)
#define QUEUES 2u
#define MAX_SIZE 128u

/*
 * A device made of core/ring and core/blk with its image in memory, behind registers that are
 * plain members: notify serves all there is, unless the device is deaf.
 */
struct world {
    struct mem mem;
    struct arena arena;
    struct ring ring[QUEUES];
    struct blk blk;
    struct stats stats;
    uint8_t image[DISK_BYTES];
    uint64_t offered;
    uint64_t accepted;
    uint8_t status;
    uint64_t now;
    unsigned generation_reads;
    unsigned notifies;
    bool is_deaf;
    bool is_lazy; /* serves when relaxed, not when notified */
    bool refuses_features;

    struct blk_driver drv;
    struct blk_driver_opts opts;
    struct blk_driver_queue queue[QUEUES];
    uint8_t *data;
};

static void image_io(struct world *w, struct request *request)
{
    uint64_t at = request->io.offset;

    for (unsigned i = 0; i < request->io.iov_count; i++) {
        const struct iovec *piece = &request->io.iov[i];

        if (request->io.op == IO_WRITE) {
            memcpy(w->image + at, piece->iov_base, piece->iov_len);
        } else {
            memcpy(piece->iov_base, w->image + at, piece->iov_len);
        }
        at += piece->iov_len;
    }
    request->io.result = 0;
}

static void serve(struct world *w, struct ring *ring)
{
    struct chain *chain;

    while (ring->is_started && ring_pop(ring, &chain) > 0) {
        struct request *request = containerof(chain, struct request, chain);

        if (blk_parse(&w->blk, request, &w->stats) == BLK_SUBMIT) {
            image_io(w, request);
        }
        ring_push(ring, chain, blk_finish(request, 0, &w->stats));
    }
    if (ring->is_started && ring_has_unpublished(ring)) {
        ring_publish(ring);
    }
}

static uint8_t get_status(void *bus)
{
    struct world *w = bus;

    return w->status;
}

static void set_status(void *bus, uint8_t status)
{
    struct world *w = bus;

    if (status == 0) {
        for (unsigned i = 0; i < QUEUES; i++) {
            if (w->ring[i].is_started) {
                ring_stop(&w->ring[i]);
            }
        }
    }
    w->status = status;
    if (w->refuses_features) {
        w->status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    }
}

static uint64_t get_features(void *bus)
{
    struct world *w = bus;

    return w->offered;
}

static void set_features(void *bus, uint64_t features)
{
    struct world *w = bus;

    w->accepted = features;
    w->blk.features = features;
}

/* The config changes under the first reader. */
static uint32_t generation(void *bus)
{
    struct world *w = bus;

    return w->generation_reads++ == 0 ? 0 : 1;
}

static void read_config(void *bus, unsigned offset, void *to, unsigned len)
{
    struct world *w = bus;

    blk_config_read(&w->blk, offset, to, len);
}

static unsigned max_size(void *bus, unsigned index)
{
    (void)bus;
    return index < QUEUES ? MAX_SIZE : 0;
}

static int set_ring(void *bus, unsigned index, const struct ring_driver *ring)
{
    struct world *w = bus;
    struct ring_layout layout = {
        .size = ring->size,
        .parts = find_parts(&w->mem, ring),
        .base = ring->is_packed ? RING_PACKED_BASE : 0,
        .is_packed = ring->is_packed,
        .has_event_idx = w->accepted >> VIRTIO_RING_F_EVENT_IDX & 1,
        .has_indirect = w->accepted >> VIRTIO_RING_F_INDIRECT_DESC & 1,
        .slot_size = sizeof(struct request),
        .slot_iovs = BLK_SLOT_IOVS,
    };

    return ring_start(&w->ring[index], &layout, &w->mem);
}

static void notify(void *bus, unsigned index)
{
    struct world *w = bus;

    w->notifies++;
    if (!w->is_deaf && !w->is_lazy) {
        serve(w, &w->ring[index]);
        ring_kicks_on(&w->ring[index]);
    }
}

static uint64_t now_ms(void *bus)
{
    struct world *w = bus;

    return w->now;
}

static void relax(void *bus)
{
    struct world *w = bus;

    w->now++;
    if (w->is_lazy) {
        serve(w, &w->ring[0]);
    }
}

static const struct blk_driver_ops ops = {
    .get_status = get_status,
    .set_status = set_status,
    .get_features = get_features,
    .set_features = set_features,
    .generation = generation,
    .read_config = read_config,
    .max_size = max_size,
    .set_ring = set_ring,
    .notify = notify,
    .now_ms = now_ms,
    .relax = relax,
};

static void *take(struct world *w, uint64_t bytes)
{
    return arena_at(&w->arena, arena_take(&w->arena, bytes, 4096));
}

static int world_start(void **state)
{
    static struct world world;
    struct world *w = &world;
    struct mem_layout layout = {.guest_addr = GUEST, .size = ARENA_BYTES, .user_addr = GUEST};
    const struct blk_opts opts = {.capacity = DISK_BYTES,
                                  .logical_block = 512,
                                  .physical_block = 512,
                                  .queues = QUEUES,
                                  .seg_max = BLK_SEG_MAX,
                                  .serial = "serial-1"};

    memset(w, 0, sizeof(*w));
    mem_init(&w->mem);
    arena_init(&w->arena, GUEST, ARENA_BYTES);
    assert_int_equal(mem_add(&w->mem, &layout, w->arena.fd, NULL), 0);
    blk_init(&w->blk, &opts);
    w->offered = blk_features(&w->blk) | 1ull << VIRTIO_F_VERSION_1 |
                 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC;
    w->opts = (struct blk_driver_opts){.ops = &ops,
                                       .bus = w,
                                       .offset = GUEST - (uintptr_t)w->arena.host,
                                       .queues = QUEUES,
                                       .queue_size = 16,
                                       .timeout_ms = 100,
                                       .queue = w->queue};
    w->opts.ring_memory = take(w, QUEUES * 16384);
    w->opts.own = take(w, sizeof(*w->opts.own));
    w->data = take(w, DISK_BYTES);
    *state = w;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    set_status(w, 0);
    mem_clear(&w->mem);
    arena_fini(&w->arena);
    return 0;
}

static void start(struct world *w)
{
    assert_int_equal(blk_driver_start(&w->drv, &w->opts), 0);
    assert_true(w->status & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void accepts_what_it_knows_and_nothing_else(void **state)
{
    struct world *w = *state;

    start(w);
    assert_true(w->accepted >> VIRTIO_F_VERSION_1 & 1);
    assert_false(w->accepted >> VIRTIO_RING_F_INDIRECT_DESC & 1);
    assert_int_equal(w->drv.queues, QUEUES);
    assert_int_equal(w->drv.capacity, DISK_SECTORS);
}

static void legacy_device_needs_no_features_ok(void **state)
{
    struct world *w = *state;

    w->opts.is_legacy = true;
    w->opts.is_size_fixed = true;
    w->refuses_features = true;
    start(w);
    assert_int_equal(w->accepted >> 32, 0);
    assert_int_equal(w->queue[0].ring.size, MAX_SIZE);
}

static void modern_device_that_is_not_is_refused(void **state)
{
    struct world *w = *state;

    w->offered &= 0xffffffffull;
    assert_int_equal(blk_driver_start(&w->drv, &w->opts), BLK_DRIVER_REFUSED);
    assert_true(w->status & VIRTIO_CONFIG_S_FAILED);
}

static void device_that_does_not_like_the_choice_is_left(void **state)
{
    struct world *w = *state;

    w->refuses_features = true;
    assert_int_equal(blk_driver_start(&w->drv, &w->opts), BLK_DRIVER_REFUSED);
    assert_false(w->status & VIRTIO_CONFIG_S_DRIVER_OK);
}

static void config_is_read_again_when_it_changed_meanwhile(void **state)
{
    struct world *w = *state;

    start(w);
    assert_true(w->generation_reads >= 4);
}

static void what_is_written_is_read(void **state)
{
    struct world *w = *state;

    start(w);
    memset(w->data, 0x5a, 4096);
    assert_int_equal(blk_driver_write(&w->drv, 8, w->data, 4096), 0);
    assert_int_equal(w->image[8 * SECTOR_SIZE], 0x5a);
    assert_int_equal(w->image[16 * SECTOR_SIZE - 1], 0x5a);
    assert_int_equal(w->image[16 * SECTOR_SIZE], 0);
    memset(w->data, 0, 4096);
    assert_int_equal(blk_driver_read(&w->drv, 8, w->data, 4096), 0);
    assert_int_equal(w->data[4095], 0x5a);
    assert_int_equal(blk_driver_flush(&w->drv), 0);
}

static void indirect_requests_fill_the_ring_one_by_one(void **state)
{
    struct world *w = *state;
    struct blk_driver_frame *frame = take(w, 17 * sizeof(*frame));
    struct blk_driver_request request[17];

    w->opts.is_indirect = true;
    start(w);
    assert_true(w->accepted >> VIRTIO_RING_F_INDIRECT_DESC & 1);
    memset(w->image, 0x33, SECTOR_SIZE);
    for (unsigned i = 0; i < 17; i++) {
        request[i] = (struct blk_driver_request){.frame = &frame[i],
                                                 .header = {.type = VIRTIO_BLK_T_IN},
                                                 .data = w->data + (size_t)i * SECTOR_SIZE,
                                                 .len = SECTOR_SIZE};
        assert_int_equal(blk_driver_submit(&w->queue[1], &request[i]),
                         i < 16 ? 0 : BLK_DRIVER_FULL);
    }
    blk_driver_kick(&w->drv, &w->queue[1]);
    for (unsigned i = 0; i < 16; i++) {
        assert_ptr_equal(blk_driver_poll(&w->queue[1]), &request[i]);
        assert_int_equal(request[i].status, VIRTIO_BLK_S_OK);
        assert_int_equal(w->data[(size_t)i * SECTOR_SIZE], 0x33);
    }
}

static void device_without_indirect_descriptors_is_served_as_well(void **state)
{
    struct world *w = *state;

    w->opts.is_indirect = true;
    w->offered &= ~(1ull << VIRTIO_RING_F_INDIRECT_DESC);
    start(w);
    memset(w->image, 0x33, SECTOR_SIZE);
    assert_int_equal(blk_driver_read(&w->drv, 0, w->data, SECTOR_SIZE), 0);
    assert_int_equal(w->data[0], 0x33);
}

/* Many rounds of both rings, by each kind of chain. */
static void packed_rings_are_used_where_the_device_has_them(void **state)
{
    struct world *w = *state;

    w->opts.is_packed = true;
    start(w);
    assert_false(w->queue[0].ring.is_packed);
    w->offered |= 1ull << VIRTIO_F_RING_PACKED;
    for (unsigned indirect = 0; indirect < 2; indirect++) {
        w->opts.is_indirect = indirect;
        start(w);
        assert_true(w->accepted >> VIRTIO_F_RING_PACKED & 1);
        assert_true(w->ring[1].layout.is_packed);
        for (unsigned i = 0; i < 100; i++) {
            memset(w->data, (int)(i + indirect), SECTOR_SIZE);
            assert_int_equal(blk_driver_write(&w->drv, i, w->data, SECTOR_SIZE), 0);
            memset(w->data, 0xee, SECTOR_SIZE);
            assert_int_equal(blk_driver_read(&w->drv, i, w->data, SECTOR_SIZE), 0);
            assert_int_equal(w->data[SECTOR_SIZE - 1], i + indirect);
        }
        assert_int_equal(blk_driver_flush(&w->drv), 0);
    }
}

static void packed_rings_are_not_asked_for_by_themselves(void **state)
{
    struct world *w = *state;

    w->offered |= 1ull << VIRTIO_F_RING_PACKED;
    start(w);
    assert_false(w->accepted >> VIRTIO_F_RING_PACKED & 1);
    assert_false(w->queue[0].ring.is_packed);
}

static void large_reads_are_cut(void **state)
{
    struct world *w = *state;

    start(w);
    w->image[DISK_BYTES - 1] = 1;
    assert_int_equal(blk_driver_read(&w->drv, 0, w->data, DISK_BYTES), 0);
    assert_int_equal(w->data[DISK_BYTES - 1], 1);
    assert_true(w->stats.type[STATS_READ].requests > 1);
}

static void past_the_end_nothing_is_asked_of_the_device(void **state)
{
    struct world *w = *state;

    start(w);
    assert_int_equal(blk_driver_read(&w->drv, DISK_SECTORS, w->data, 512), BLK_DRIVER_RANGE);
    assert_int_equal(blk_driver_read(&w->drv, UINT64_MAX, w->data, 1024), BLK_DRIVER_RANGE);
    assert_int_equal(w->notifies, 0);
}

static void status_of_the_device_is_handed_on(void **state)
{
    struct world *w = *state;

    start(w);
    w->blk.opts.is_readonly = true;
    assert_int_equal(blk_driver_write(&w->drv, 0, w->data, 512), VIRTIO_BLK_S_IOERR);
}

static void silent_device_is_a_timeout(void **state)
{
    struct world *w = *state;

    start(w);
    w->is_deaf = true;
    assert_int_equal(blk_driver_read(&w->drv, 0, w->data, 512), BLK_DRIVER_TIMEOUT);
    assert_int_equal(w->now, 100);
}

static void slow_device_is_waited_for(void **state)
{
    struct world *w = *state;

    start(w);
    w->is_lazy = true;
    assert_int_equal(blk_driver_read(&w->drv, 0, w->data, 512), 0);
}

static void serial_is_read(void **state)
{
    struct world *w = *state;
    char id[VIRTIO_BLK_ID_BYTES + 1];

    start(w);
    assert_int_equal(blk_driver_get_id(&w->drv, id), 0);
    assert_string_equal(id, "serial-1");
}

static void what_was_not_negotiated_is_not_tried(void **state)
{
    struct world *w = *state;

    w->offered &= ~(1ull << VIRTIO_BLK_F_DISCARD);
    w->opts.refuse = 1ull << VIRTIO_BLK_F_FLUSH;
    start(w);
    assert_int_equal(blk_driver_flush(&w->drv), BLK_DRIVER_UNABLE);
    assert_int_equal(blk_driver_discard(&w->drv, 0, 8), BLK_DRIVER_UNABLE);
}

static void geometry_is_guessed_where_there_is_none(void **state)
{
    struct world *w = *state;

    start(w);
    assert_int_equal(w->drv.heads, 255);
    assert_int_equal(w->drv.sectors, 63);
    assert_int_equal(blk_driver_cylinders(&w->drv), 0);
    w->drv.capacity = 255 * 63 * 10;
    assert_int_equal(blk_driver_cylinders(&w->drv), 10);
}

static void geometry_is_taken_from_the_device(void **state)
{
    struct world *w = *state;

    w->offered |= 1ull << VIRTIO_BLK_F_GEOMETRY;
    w->blk.config.geometry.heads = 16;
    w->blk.config.geometry.sectors = 32;
    start(w);
    assert_int_equal(w->drv.heads, 16);
    assert_int_equal(blk_driver_cylinders(&w->drv), DISK_SECTORS / 512);
}

static void blocks_of_another_size_are_counted_in_sectors(void **state)
{
    struct world *w = *state;

    w->blk.config.blk_size = 4096;
    start(w);
    assert_int_equal(blk_driver_sectors_per_block(&w->drv), 8);
    assert_int_equal(blk_driver_blocks(&w->drv), DISK_SECTORS / 8);
    w->image[3 * 4096] = 7;
    assert_int_equal(blk_driver_read_blocks(&w->drv, 3, 1, w->data), 0);
    assert_int_equal(w->data[0], 7);
    assert_int_equal(blk_driver_read_blocks(&w->drv, DISK_SECTORS / 8, 1, w->data),
                     BLK_DRIVER_RANGE);
}

static void size_max_cuts_requests(void **state)
{
    struct world *w = *state;

    w->offered |= 1ull << VIRTIO_BLK_F_SIZE_MAX;
    w->blk.config.size_max = 5000;
    start(w);
    assert_int_equal(blk_driver_read(&w->drv, 0, w->data, 8192), 0);
    assert_int_equal(w->stats.type[STATS_READ].requests, 2);
}

static void cd_image_is_known(void **state)
{
    struct world *w = *state;

    start(w);
    assert_int_equal(blk_driver_guess_nature(&w->drv, w->data), BLK_DRIVER_PLAIN);
    assert_int_equal(w->drv.block_size, 512);
    memcpy(w->image + 32768, "\1CD001\1", 7);
    assert_int_equal(blk_driver_guess_nature(&w->drv, w->data), BLK_DRIVER_ISO9660);
    assert_int_equal(w->drv.block_size, 2048);
    assert_int_equal(blk_driver_sectors_per_block(&w->drv), 4);
}

static void growth_is_seen_when_looked_for(void **state)
{
    struct world *w = *state;

    start(w);
    blk_set_capacity(&w->blk, 2 * DISK_BYTES);
    assert_int_equal(w->drv.capacity, DISK_SECTORS);
    blk_driver_read_shape(&w->drv);
    assert_int_equal(w->drv.capacity, 2 * DISK_SECTORS);
}

/* On both rings, as many as fit, done in one turn with one notification each. */
static void many_requests_are_under_way_at_once(void **state)
{
    struct world *w = *state;
    struct blk_driver_frame *frame = take(w, 10 * sizeof(*frame));
    struct blk_driver_request requests[10];

    start(w);
    for (unsigned i = 0; i < 10; i++) {
        requests[i] = (struct blk_driver_request){.frame = &frame[i],
                                                  .header = {.type = VIRTIO_BLK_T_IN, .sector = i},
                                                  .data = w->data + 512 * i,
                                                  .len = 512};
        w->image[512 * i] = (uint8_t)(i + 1);
        assert_int_equal(blk_driver_submit(&w->queue[i / 5], &requests[i]), 0);
    }
    assert_int_equal(blk_driver_submit(&w->queue[0], &requests[0]), BLK_DRIVER_FULL);
    assert_null(blk_driver_poll(&w->queue[0]));
    for (unsigned i = 0; i < 10; i++) {
        struct blk_driver_request *request;

        blk_driver_kick(&w->drv, &w->queue[i / 5]);
        request = blk_driver_poll(&w->queue[i / 5]);
        assert_ptr_equal(request, &requests[i]);
        assert_int_equal(request->status, VIRTIO_BLK_S_OK);
        assert_int_equal(request->used_len, 513);
        assert_int_equal(w->data[512 * i], i + 1);
    }
    assert_int_equal(w->notifies, 2);
}

/* ---- a device that lies ---- */

/* What a device can write to: rings and frames, all of it. */
static void scribble(struct world *w, int byte)
{
    memset(w->opts.ring_memory, byte, QUEUES * 16384);
    memset(w->opts.own, byte, sizeof(*w->opts.own));
}

static void status_is_read_once(void **state)
{
    struct world *w = *state;
    struct blk_driver_frame *frame = take(w, sizeof(*frame));
    struct blk_driver_request request = {.frame = frame, .header = {.type = VIRTIO_BLK_T_FLUSH}};

    start(w);
    assert_int_equal(blk_driver_submit(&w->queue[0], &request), 0);
    blk_driver_kick(&w->drv, &w->queue[0]);
    assert_ptr_equal(blk_driver_poll(&w->queue[0]), &request);
    memset(frame, 0x77, sizeof(*frame));
    assert_int_equal(request.status, VIRTIO_BLK_S_OK);
    assert_int_equal(request.header.type, VIRTIO_BLK_T_FLUSH);
}

static void scribbles_over_all_that_is_shared_break_the_ring(void **state)
{
    struct world *w = *state;

    for (int byte = 1; byte <= 0xff; byte++) {
        start(w);
        w->is_deaf = true;
        assert_int_equal(blk_driver_read(&w->drv, 0, w->data, 512), BLK_DRIVER_TIMEOUT);
        scribble(w, byte);
        assert_null(blk_driver_poll(&w->queue[0]));
        assert_non_null(w->queue[0].ring.fault);
        assert_int_equal(blk_driver_read(&w->drv, 0, w->data, 512), BLK_DRIVER_BROKEN);
        w->is_deaf = false;
    }
}

static void request_that_nobody_made_breaks_the_ring(void **state)
{
    struct world *w = *state;
    struct ring_piece pieces[] = {{w->data, 16, false}, {w->data + 512, 1, true}};

    start(w);
    assert_int_equal(ring_driver_add(&w->queue[0].ring, pieces, 2), 0);
    (void)ring_driver_show(&w->queue[0].ring);
    w->queue[0].ring.used->idx = 1;
    assert_null(blk_driver_poll(&w->queue[0]));
    assert_non_null(strstr(w->queue[0].ring.fault, "no request"));
}

static void serial_without_an_end_is_ended(void **state)
{
    struct world *w = *state;
    char id[VIRTIO_BLK_ID_BYTES + 1];

    memset(w->blk.opts.serial, 'x', VIRTIO_BLK_ID_BYTES);
    start(w);
    assert_int_equal(blk_driver_get_id(&w->drv, id), 0);
    assert_int_equal(strlen(id), VIRTIO_BLK_ID_BYTES);
}

static void without_a_frame_of_its_own_it_waits_for_nothing(void **state)
{
    struct world *w = *state;
    char id[VIRTIO_BLK_ID_BYTES + 1];

    w->opts.own = NULL;
    start(w);
    assert_int_equal(blk_driver_flush(&w->drv), BLK_DRIVER_UNABLE);
    assert_int_equal(blk_driver_get_id(&w->drv, id), BLK_DRIVER_UNABLE);
    assert_string_equal(id, "");
}

int main(void)
{
#define blk_test(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)
    static const struct CMUnitTest tests[] = {
        blk_test(accepts_what_it_knows_and_nothing_else),
        blk_test(legacy_device_needs_no_features_ok),
        blk_test(modern_device_that_is_not_is_refused),
        blk_test(device_that_does_not_like_the_choice_is_left),
        blk_test(config_is_read_again_when_it_changed_meanwhile),
        blk_test(what_is_written_is_read),
        blk_test(indirect_requests_fill_the_ring_one_by_one),
        blk_test(device_without_indirect_descriptors_is_served_as_well),
        blk_test(packed_rings_are_used_where_the_device_has_them),
        blk_test(packed_rings_are_not_asked_for_by_themselves),
        blk_test(large_reads_are_cut),
        blk_test(past_the_end_nothing_is_asked_of_the_device),
        blk_test(status_of_the_device_is_handed_on),
        blk_test(silent_device_is_a_timeout),
        blk_test(slow_device_is_waited_for),
        blk_test(serial_is_read),
        blk_test(what_was_not_negotiated_is_not_tried),
        blk_test(geometry_is_guessed_where_there_is_none),
        blk_test(geometry_is_taken_from_the_device),
        blk_test(blocks_of_another_size_are_counted_in_sectors),
        blk_test(size_max_cuts_requests),
        blk_test(cd_image_is_known),
        blk_test(growth_is_seen_when_looked_for),
        blk_test(many_requests_are_under_way_at_once),
        blk_test(status_is_read_once),
        blk_test(scribbles_over_all_that_is_shared_break_the_ring),
        blk_test(request_that_nobody_made_breaks_the_ring),
        blk_test(serial_without_an_end_is_ended),
        blk_test(without_a_frame_of_its_own_it_waits_for_nothing),
    };

    return unit_run(tests);
}
