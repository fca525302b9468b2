/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* memfd_create */
#include "core/device/device.h"
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/block/image.h"
#include "core/device/device_change.h"
#include "core/device/device_state.h"
#include "tests/lib/driver.h"
#include "tests/unit/chance.h"
#include "tests/unit/gate_image.h"
#include "tests/unit/image_world.h"

#define PAGE DIRTY_LOG_PAGE
#define RINGS 3u
#define SIZE 1024u /* so that the used ring has several pages */
#define REQUESTS 16u
#define PIECES 9u
#define TABLE_BYTES ((PIECES + 1) * 16u)
#define GUEST 0x300000ull
#define ARENA_BYTES (2ull << 20)
#define DATA_BYTES (1ull << 20)
#define DATA_OF_RING (DATA_BYTES / 4)
#define LOG_BYTES 4096u
#define PATIENCE_NS (60 * NS_PER_S)

/*
 * A device and its guest, whose memory is in three regions that requests reach across; its log; and
 * a copy of the memory, to find out what a batch of requests has changed.
 */
struct world {
    uv_loop_t loop;
    struct device dev;
    _Atomic pid_t awaited;
    struct image_world *image;
    struct arena arena;
    struct driver drv[RINGS];
    int kick[RINGS];
    uint64_t private[RINGS]; /* of each ring's requests: header, table, status */
    uint64_t data;           /* of DATA_BYTES, for all */
    int64_t shift;           /* of the guest's addresses, as they are shared, against the arena's */
    int log_fd;
    uint8_t *log; /* LOG_BYTES */
    uint8_t *before;
    struct drain drain;
    unsigned times_drained;
    bool is_closed;
};

#define run_until(w, what)                              \
    do {                                                \
        uint64_t deadline_ns_ = now_ns() + PATIENCE_NS; \
        while (!(what)) {                               \
            assert_true(now_ns() < deadline_ns_);       \
            uv_run(&(w)->loop, UV_RUN_NOWAIT);          \
        }                                               \
    } while (0)

/* ---- the device ---- */

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

static void close_image(struct world *w)
{
    pause_drained(w, PAUSE_ADMIN);
    if (device_image(&w->dev)) {
        image_close(device_detach(&w->dev));
    }
}

static void use_image(struct world *w, struct image *image)
{
    assert_true(device_attach(&w->dev, image, NULL) >= 0);
    device_resume(&w->dev, PAUSE_ADMIN);
}

static void use_file(struct world *w, enum cache_mode cache)
{
    struct image_opts opts = image_world_opts(w->image, w->image->image, cache);
    struct image *image;

    close_image(w);
    assert_int_equal(image_open(&image, &opts, NULL), 0);
    use_image(w, image);
}

static void use_null_that(struct world *w, int error, bool holds)
{
    struct image_opts opts = {
        .type = "null", .size = IMAGE_BYTES, .error_every = 1, .max_inflight = 64};
    struct image *image;

    close_image(w);
    opts.error = error;
    opts.holds_errors = holds;
    assert_int_equal(image_open(&image, &opts, NULL), 0);
    use_image(w, image);
}

static void use_null(struct world *w, bool holds)
{
    use_null_that(w, holds ? -EIO : 0, holds);
}

static void use_gate(struct world *w)
{
    struct image *image;

    close_image(w);
    gate_shut();
    assert_int_equal(gate_image_open(&image, IMAGE_BYTES, NULL), 0);
    use_image(w, image);
}

/* Regions of a third each, with an edge in the middle of a page of the log's. */
static void share(struct world *w)
{
    const uint64_t edge[] = {0, ARENA_BYTES / 3 & ~(PAGE - 1), ARENA_BYTES * 2 / 3 & ~(PAGE - 1),
                             ARENA_BYTES};

    for (unsigned i = 0; i < 3; i++) {
        struct mem_layout layout = {.guest_addr = GUEST + edge[i] + (uint64_t)w->shift,
                                    .size = edge[i + 1] - edge[i],
                                    .user_addr = (uintptr_t)w->arena.host + edge[i],
                                    .offset = edge[i]};

        assert_int_equal(device_memory_add(&w->dev, &layout, w->arena.fd, NULL), 0);
    }
}

/* Other guest addresses for the same memory. */
static void move_memory(struct world *w, int64_t shift)
{
    pause_drained(w, PAUSE_MESSAGE);
    device_park(&w->dev);
    device_memory_clear(&w->dev);
    w->shift = shift;
    share(w);
    device_memory_changed(&w->dev);
    device_unpark(&w->dev);
    device_resume(&w->dev, PAUSE_MESSAGE);
}

static void start_ring(struct world *w, unsigned index, uint32_t base)
{
    const struct ring_driver *drv = &w->drv[index].ring;
    const struct ring_addr addr = {
        .desc = (uintptr_t)drv->desc, .used = (uintptr_t)drv->used, .avail = (uintptr_t)drv->avail};

    assert_int_equal(device_ring_set_size(&w->dev, index, SIZE, NULL), 0);
    assert_int_equal(device_ring_set_base(&w->dev, index, base, NULL), 0);
    assert_int_equal(device_ring_set_addr(&w->dev, index, &addr, NULL), 0);
    assert_int_equal(device_ring_set_kick(&w->dev, index, dup(w->kick[index]), NULL), 0);
    assert_int_equal(device_ring_enable(&w->dev, index, true, NULL), 0);
}

static void start_guest(struct world *w, bool has_event_idx)
{
    uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                        1ull << VIRTIO_BLK_F_FLUSH;

    share(w);
    features |= has_event_idx ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0;
    assert_int_equal(device_set_features(&w->dev, features), 0);
    for (unsigned i = 0; i < RINGS; i++) {
        start_ring(w, i, 0);
    }
    device_resume(&w->dev, PAUSE_GONE);
}

static void set_lanes(struct world *w, unsigned count)
{
    pause_drained(w, PAUSE_MOVE);
    assert_int_equal(device_set_lanes(&w->dev, count, NULL, NULL), 0);
    device_resume(&w->dev, PAUSE_MOVE);
}

static void init_guest(struct world *w)
{
    arena_init(&w->arena, GUEST, ARENA_BYTES);
    for (unsigned i = 0; i < RINGS; i++) {
        driver_init(&w->drv[i], &w->arena, SIZE);
        w->private[i] = arena_take(&w->arena, REQUESTS * (16 + TABLE_BYTES + 1), PAGE);
        w->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    w->data = arena_take(&w->arena, DATA_BYTES, PAGE);
    w->before = malloc(ARENA_BYTES);
    w->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert(w->before && ftruncate(w->log_fd, LOG_BYTES) == 0);
    w->log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, w->log_fd, 0);
    assert(w->log != MAP_FAILED);
}

static int start_with(void **state, bool has_event_idx)
{
    static struct world world;
    struct blk_opts blk = {.capacity = IMAGE_BYTES,
                           .logical_block = 512,
                           .physical_block = 512,
                           .queues = RINGS,
                           .serial = "not zero, to be seen",
                           .seg_max = BLK_SEG_MAX};
    struct device_opts opts = {
        .name = "vda", .queues = RINGS, .queue_size_max = SIZE, .awaited = &world.awaited};
    struct world *w = &world;

    memset(w, 0, sizeof(*w));
    chance_begin();
    *state = NULL;
    image_world_start(state);
    w->image = *state;
    init_guest(w);
    assert(uv_loop_init(&w->loop) == 0);
    assert(device_init(&w->dev, &w->loop, &opts, &blk, NULL) == 0);
    use_file(w, CACHE_WRITEBACK);
    start_guest(w, has_event_idx);
    *state = w;
    return 0;
}

static int world_start(void **state)
{
    return start_with(state, true);
}

static int flags_start(void **state)
{
    return start_with(state, false);
}

static void on_closed(void *arg)
{
    ((struct world *)arg)->is_closed = true;
}

static int world_stop(void **state)
{
    struct world *w = *state;
    void *image = w->image;

    gate_open();
    pause_drained(w, PAUSE_EXIT);
    image_close(device_detach(&w->dev));
    device_close(&w->dev, on_closed, w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert(w->is_closed);
    assert(uv_loop_close(&w->loop) == 0);
    munmap(w->log, LOG_BYTES);
    close(w->log_fd);
    free(w->before);
    for (unsigned i = 0; i < RINGS; i++) {
        close(w->kick[i]);
    }
    arena_fini(&w->arena);
    return image_world_stop(&image);
}

/* ---- the log ---- */

static int open_log(struct world *w)
{
    return device_log_open(&w->dev, LOG_BYTES, 0, w->log_fd, NULL);
}

static uint64_t guest_addr_of(const struct world *w, const void *at)
{
    return GUEST + (uint64_t)((const uint8_t *)at - w->arena.host) + (uint64_t)w->shift;
}

static void log_ring(struct world *w, unsigned index, bool on)
{
    const uint64_t addr = guest_addr_of(w, w->drv[index].ring.used);

    assert_int_equal(device_ring_set_log(&w->dev, index, on, on ? addr : 0, NULL), 0);
}

static void log_rings(struct world *w, bool on)
{
    for (unsigned i = 0; i < RINGS; i++) {
        log_ring(w, i, on);
    }
}

/* As QEMU begins, with rings that run. */
static void log_all(struct world *w)
{
    assert_int_equal(open_log(w), 0);
    device_log_data(&w->dev, true);
    log_rings(w, true);
}

static bool is_marked(const struct world *w, uint64_t guest_addr)
{
    uint64_t page = guest_addr / PAGE;

    return w->log[page / 8] >> page % 8 & 1;
}

static bool is_marked_at(const struct world *w, uint64_t arena_addr)
{
    return is_marked(w, arena_addr + (uint64_t)w->shift);
}

static unsigned count_marks(const struct world *w)
{
    unsigned count = 0;

    for (unsigned i = 0; i < LOG_BYTES; i++) {
        count += (unsigned)__builtin_popcount(w->log[i]);
    }
    return count;
}

/* Take all marks away, and remember what there is in memory.  The threads stand still. */
static void begin_look(struct world *w)
{
    for (unsigned i = 0; i < 10; i++) {
        uv_run(&w->loop, UV_RUN_NOWAIT); /* rings that were looked at ask for kicks again */
    }
    device_park(&w->dev);
    memset(w->log, 0, LOG_BYTES);
    memcpy(w->before, w->arena.host, ARENA_BYTES);
    device_unpark(&w->dev);
}

/* Is each page marked that has changed?  Nothing is in flight.  Returns how many have changed. */
static unsigned assert_changes_marked(struct world *w)
{
    unsigned changed = 0;

    device_park(&w->dev);
    for (uint64_t at = 0; at < ARENA_BYTES; at += PAGE) {
        if (memcmp(w->before + at, w->arena.host + at, PAGE) != 0) {
            changed++;
            if (!is_marked_at(w, GUEST + at)) {
                fail_msg("the page at 0x%llx has changed, and is not marked",
                         (unsigned long long)at);
            }
        }
    }
    for (uint64_t page = 0; page < LOG_BYTES * 8; page++) {
        uint64_t into = page * PAGE - GUEST - (uint64_t)w->shift;

        assert_true(into < ARENA_BYTES || !is_marked(w, page * PAGE));
    }
    device_unpark(&w->dev);
    return changed;
}

/* ---- requests ---- */

static uint64_t header_addr(const struct world *w, unsigned ring, unsigned slot)
{
    return w->private[ring] + slot * 16;
}

static uint64_t status_addr(const struct world *w, unsigned ring, unsigned slot)
{
    return w->private[ring] + REQUESTS * (16 + TABLE_BYTES) + slot;
}

static uint64_t table_addr(const struct world *w, unsigned ring, unsigned slot)
{
    return w->private[ring] + REQUESTS * 16 + slot * TABLE_BYTES;
}

/* One request with these pieces of data; the first is left for the header, the last for status. */
static void put(struct world *w, unsigned ring, unsigned slot, uint32_t type, uint64_t sector,
                struct piece *piece, unsigned count)
{
    const struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    struct driver *drv = &w->drv[ring];
    uint64_t addr = header_addr(w, ring, slot);

    memcpy(arena_at(&w->arena, addr), &header, sizeof(header));
    *(uint8_t *)arena_at(&w->arena, status_addr(w, ring, slot)) = 0xff;
    for (unsigned i = 0; i < count; i++) {
        piece[i].addr += (uint64_t)w->shift;
    }
    piece[0] = piece_out(addr + (uint64_t)w->shift, sizeof(header));
    if (chance(2)) {
        /* The table is written where it is, and told by its address in the guest. */
        uint16_t head = driver_chain_indirect(drv, piece, count, 0, table_addr(w, ring, slot));

        drv->ring.desc[head].addr = table_addr(w, ring, slot) + (uint64_t)w->shift;
        driver_offer(drv, head);
    } else {
        driver_offer(drv, driver_chain(drv, piece, count));
    }
}

static void put_data(struct world *w, unsigned ring, unsigned slot, uint32_t type, uint64_t addr,
                     uint32_t len)
{
    struct piece piece[3] = {{0},
                             {.addr = addr, .len = len, .is_in = type != VIRTIO_BLK_T_OUT},
                             piece_in(status_addr(w, ring, slot), 1)};

    put(w, ring, slot, type, 0, piece, 3);
}

static void kick(struct world *w, unsigned ring)
{
    const uint64_t one = 1;

    assert_int_equal(write(w->kick[ring], &one, sizeof(one)), sizeof(one));
}

static void reap(struct world *w, unsigned ring, unsigned count)
{
    struct used used;

    run_until(w, raw_ring_used_count(&w->drv[ring].ring) >= count);
    while (count-- > 0) {
        assert_true(driver_reap(&w->drv[ring], &used));
    }
}

static void do_one(struct world *w, unsigned ring, uint32_t type, uint64_t addr, uint32_t len)
{
    put_data(w, ring, 0, type, addr, len);
    kick(w, ring);
    reap(w, ring, 1);
}

/* ---- any requests ---- */

/* Rings share none, as they may be of different threads, which would race. */
static uint64_t data_of(const struct world *w, unsigned ring)
{
    return w->data + ring * DATA_OF_RING;
}

static uint64_t any_data_addr(const struct world *w, unsigned ring, uint32_t len)
{
    uint64_t into = chance((uint32_t)(DATA_OF_RING - len));

    return data_of(w, ring) + (chance(2) ? into : into & ~511ull);
}

/* Data of so many bytes in several pieces, cut anywhere.  Returns how many. */
static unsigned cut_data(struct world *w, unsigned ring, struct piece *piece, uint32_t len,
                         bool is_in)
{
    unsigned count = 0;

    while (len > 0) {
        bool is_last = count + 3 == PIECES || chance(3) == 0;
        uint32_t part = is_last ? len : 1 + chance(len);

        piece[count++] =
            (struct piece){.addr = any_data_addr(w, ring, part), .len = part, .is_in = is_in};
        len -= part;
    }
    return count;
}

static const uint32_t any_type[] = {VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_IN,     VIRTIO_BLK_T_IN,
                                    VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_OUT,    VIRTIO_BLK_T_OUT,
                                    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, 4711};

/* Its status may follow the data in the same piece, or lie elsewhere among data. */
static void put_any(struct world *w, unsigned ring, unsigned slot)
{
    uint32_t type = any_type[chance(ARRAY_SIZE(any_type))];
    uint64_t sector = chance(IMAGE_BYTES / SECTOR_SIZE + 16); /* past the end, at times */
    uint32_t len = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_OUT ? 512 * (1 + chance(100))
                   : type == VIRTIO_BLK_T_GET_ID                       ? 1 + chance(40)
                                                                       : 0;
    struct piece piece[PIECES];
    unsigned count = 1 + cut_data(w, ring, piece + 1, len, type != VIRTIO_BLK_T_OUT);

    if (chance(2) && type == VIRTIO_BLK_T_IN) {
        piece[count - 1].addr -= piece[count - 1].addr > data_of(w, ring); /* room for it */
        piece[count - 1].len++;
    } else {
        piece[count++] =
            piece_in(chance(2) ? status_addr(w, ring, slot) : any_data_addr(w, ring, 1), 1);
    }
    put(w, ring, slot, type, sector, piece, count);
}

/* What the last batch has left must not be what the next one leaves. */
static void spoil_data(struct world *w)
{
    uint8_t *data = arena_at(&w->arena, w->data);

    for (uint64_t i = 0; i < DATA_BYTES; i += 64) {
        memset(data + i, (int)chance(256), 64);
    }
}

/* Requests are there before a thread of the device looks, so what changes then is its doing. */
static unsigned do_batch(struct world *w)
{
    unsigned count[RINGS];
    unsigned changed;

    pause_drained(w, PAUSE_ADMIN);
    spoil_data(w);
    for (unsigned ring = 0; ring < RINGS; ring++) {
        count[ring] = chance(REQUESTS + 1);
        for (unsigned i = 0; i < count[ring]; i++) {
            put_any(w, ring, i);
        }
        kick(w, ring);
    }
    begin_look(w);
    device_resume(&w->dev, PAUSE_ADMIN);
    for (unsigned ring = 0; ring < RINGS; ring++) {
        reap(w, ring, count[ring]);
    }
    pause_drained(w, PAUSE_ADMIN);
    changed = assert_changes_marked(w);
    device_resume(&w->dev, PAUSE_ADMIN);
    return changed;
}

/* The rest of it moves, too: the log, the memory, the number of threads. */
static void do_batches(struct world *w, unsigned lanes)
{
    unsigned changed = 0;

    set_lanes(w, lanes);
    log_all(w);
    for (unsigned i = 0; i < 60; i++) {
        changed += do_batch(w);
        if (i % 20 == 9) {
            assert_int_equal(open_log(w), 0);
        } else if (i % 20 == 19) {
            move_memory(w, w->shift ? 0 : (int64_t)(16 * PAGE));
            log_rings(w, true);
        }
    }
    assert_true(changed > 60);
    for (unsigned i = 0; i < RINGS; i++) {
        assert_false(w->dev.queue[i].ring.is_broken);
    }
}

static void each_changed_page_is_marked(void **state)
{
    do_batches(*state, 1);
}

static void each_changed_page_is_marked_by_several_threads(void **state)
{
    do_batches(*state, 3);
}

static void use_direct(struct world *w)
{
    if (!image_world_has_direct(w->image)) {
        skip();
    }
    use_file(w, CACHE_NONE);
}

/* Buffers that are not aligned go through memory of ours, and large ones as well. */
static void each_changed_page_is_marked_behind_bounce_buffers(void **state)
{
    struct world *w = *state;

    use_direct(w);
    device_set_huge(&w->dev, HUGE_ON);
    do_batches(w, 2);
    assert_true(w->dev.lanes.first.stats.bounced > 0);
}

/* ---- one by one ---- */

static void read_marks_data_status_and_ring(void **state)
{
    struct world *w = *state;
    const uint64_t data = w->data + 5 * PAGE - 1;

    use_null(w, false);
    log_all(w);
    begin_look(w);
    do_one(w, 0, VIRTIO_BLK_T_IN, data, 2 * PAGE);
    for (unsigned i = 4; i <= 6; i++) {
        assert_true(is_marked_at(w, w->data + i * PAGE));
    }
    assert_false(is_marked_at(w, w->data + 3 * PAGE));
    assert_false(is_marked_at(w, w->data + 7 * PAGE));
    assert_true(is_marked_at(w, status_addr(w, 0, 0)));
    assert_true(is_marked(w, guest_addr_of(w, w->drv[0].ring.used)));
}

/* Three pages at most: status, used index with its element, event index. */
static void write_marks_status_and_ring_alone(void **state)
{
    struct world *w = *state;

    use_null(w, false);
    log_all(w);
    begin_look(w);
    do_one(w, 0, VIRTIO_BLK_T_OUT, w->data, 64 * 1024);
    pause_drained(w, PAUSE_ADMIN);
    assert_true(is_marked_at(w, status_addr(w, 0, 0)));
    assert_true(is_marked(w, guest_addr_of(w, w->drv[0].ring.used)));
    assert_in_range(count_marks(w), 2, 3);
}

static void serial_number_is_marked(void **state)
{
    struct world *w = *state;

    log_all(w);
    pause_drained(w, PAUSE_MESSAGE);
    put_data(w, 0, 0, VIRTIO_BLK_T_GET_ID, w->data + PAGE - 10, 20);
    begin_look(w);
    device_resume(&w->dev, PAUSE_MESSAGE);
    reap(w, 0, 1);
    assert_true(is_marked_at(w, w->data));
    assert_true(is_marked_at(w, w->data + PAGE));
    pause_drained(w, PAUSE_ADMIN);
    assert_true(assert_changes_marked(w) >= 3);
}

static void read_in_flight_when_logging_began_is_marked(void **state)
{
    struct world *w = *state;

    use_gate(w);
    put_data(w, 0, 0, VIRTIO_BLK_T_IN, w->data, 4 * PAGE);
    kick(w, 0);
    run_until(w, w->dev.lanes.first.flight.guest == 1);
    log_all(w);
    begin_look(w);
    gate_open();
    reap(w, 0, 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(is_marked_at(w, w->data + i * PAGE));
    }
    assert_true(is_marked_at(w, status_addr(w, 0, 0)));
}

static void log_that_is_not_switched_on_stays_empty(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_log(w), 0);
    do_one(w, 0, VIRTIO_BLK_T_IN, w->data, 4 * PAGE);
    pause_drained(w, PAUSE_ADMIN);
    assert_int_equal(count_marks(w), 0);
}

static void data_and_rings_are_switched_apart(void **state)
{
    struct world *w = *state;

    assert_int_equal(open_log(w), 0);
    log_ring(w, 1, true);
    begin_look(w);
    do_one(w, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    assert_int_equal(count_marks(w), 0);
    do_one(w, 1, VIRTIO_BLK_T_IN, w->data, PAGE);
    assert_true(is_marked(w, guest_addr_of(w, w->drv[1].ring.used)));
    assert_false(is_marked_at(w, w->data));
    assert_false(is_marked_at(w, status_addr(w, 1, 0)));
    device_log_data(&w->dev, true);
    begin_look(w);
    do_one(w, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    assert_true(is_marked_at(w, w->data));
    assert_false(is_marked(w, guest_addr_of(w, w->drv[0].ring.used)));
}

/* The used ring is marked as the front-end says, also where there is no memory. */
static void ring_is_marked_at_its_log_address(void **state)
{
    struct world *w = *state;
    const uint64_t elsewhere = 0x1000000;

    assert_int_equal(open_log(w), 0);
    assert_int_equal(device_ring_set_log(&w->dev, 0, true, elsewhere, NULL), 0);
    begin_look(w);
    do_one(w, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    pause_drained(w, PAUSE_ADMIN);
    assert_true(is_marked(w, elsewhere));
    assert_in_range(count_marks(w), 1, 2); /* its event index lies on a page of its own */
}

static void log_may_come_last(void **state)
{
    struct world *w = *state;

    device_log_data(&w->dev, true);
    log_rings(w, true);
    do_one(w, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    assert_int_equal(open_log(w), 0);
    do_batch(w);
}

static void log_ends_with_the_last_that_wants_it(void **state)
{
    struct world *w = *state;

    log_all(w);
    device_log_data(&w->dev, false);
    log_ring(w, 0, false);
    log_ring(w, 1, false);
    assert_non_null(w->dev.view.mem.log.bits);
    log_ring(w, 2, false);
    assert_null(w->dev.view.mem.log.bits);
    memset(w->log, 0, LOG_BYTES);
    do_one(w, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    assert_int_equal(count_marks(w), 0);
    log_all(w);
    do_batch(w);
}

static void log_that_a_ring_is_past_is_refused(void **state)
{
    struct world *w = *state;
    struct err err;
    const uint64_t end = LOG_BYTES * 8 * PAGE;
    const uint64_t used = ring_used_bytes(false, SIZE);

    assert_int_equal(open_log(w), 0);
    assert_int_equal(device_ring_set_log(&w->dev, 0, true, end - used, NULL), 0);
    assert_int_equal(device_ring_set_log(&w->dev, 0, true, end - used + 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "ring 0: its log address 0x7ffd"));
    assert_int_equal(device_ring_set_log(&w->dev, RINGS, true, 0, NULL), -EINVAL);
    assert_int_equal(device_log_open(&w->dev, LOG_BYTES - 1, 0, w->log_fd, &err), -EINVAL);
    assert_non_null(strstr(err.text, "lies past the end of the log, which has 4095 bytes"));
    log_ring(w, 0, true);
    assert_int_equal(device_log_open(&w->dev, LOG_BYTES - 1, 0, w->log_fd, NULL), 0);
}

static void reset_ends_the_log(void **state)
{
    struct world *w = *state;

    log_all(w);
    pause_drained(w, PAUSE_GONE);
    device_reset(&w->dev);
    assert_null(w->dev.view.mem.log.bits);
    assert_int_equal(w->dev.view.mem.mapped, 0);
    for (unsigned i = 0; i < RINGS; i++) {
        driver_reset(&w->drv[i], 0);
    }
    memset(w->log, 0, LOG_BYTES);
    start_guest(w, true);
    do_one(w, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    assert_int_equal(count_marks(w), 0);
}

/* It holds a read, which may have stored a part, and answers it when its ring stops. */
static void held_request_is_marked_when_it_fails_and_when_it_is_answered(void **state)
{
    struct world *w = *state;

    use_null(w, true);
    log_all(w);
    begin_look(w);
    put_data(w, 0, 0, VIRTIO_BLK_T_IN, w->data, 2 * PAGE);
    kick(w, 0);
    run_until(w, w->dev.queue[0].ring.held_count == 1);
    assert_true(is_marked_at(w, w->data + PAGE));
    assert_false(is_marked_at(w, status_addr(w, 0, 0)));
    pause_drained(w, PAUSE_ADMIN);
    begin_look(w);
    assert_int_equal(device_ring_stop(&w->dev, 0), 1);
    assert_true(is_marked_at(w, status_addr(w, 0, 0)));
    assert_true(is_marked(w, guest_addr_of(w, w->drv[0].ring.used)));
    assert_true(assert_changes_marked(w) >= 2);
    reap(w, 0, 1);
}

/* It delivers zeroes. */
static void ignored_read_is_marked_where_it_was_zeroed(void **state)
{
    static const struct error_policy ignore = {ERROR_IGNORE, ERROR_IGNORE};
    struct world *w = *state;

    use_null_that(w, -EIO, false);
    device_set_errors(&w->dev, &ignore);
    memset(w->arena.host + (w->data - GUEST), 0xaa, 3 * PAGE);
    log_all(w);
    put_data(w, 0, 0, VIRTIO_BLK_T_IN, w->data, 3 * PAGE);
    device_park(&w->dev);
    memcpy(w->before, w->arena.host, ARENA_BYTES);
    device_unpark(&w->dev);
    kick(w, 0);
    reap(w, 0, 1);
    assert_true(is_marked_at(w, w->data + 2 * PAGE));
    assert_true(assert_changes_marked(w) >= 4);
    assert_int_equal(w->arena.host[w->data - GUEST + 3 * PAGE - 1], 0);
}

/* The front-end resets a device of which something is held, and copies what it was answered. */
static void reset_marks_what_it_answers(void **state)
{
    struct world *w = *state;

    use_null(w, true);
    log_all(w);
    put_data(w, 0, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    kick(w, 0);
    run_until(w, w->dev.queue[0].ring.held_count == 1);
    pause_drained(w, PAUSE_MESSAGE);
    begin_look(w);
    device_reset_rings(&w->dev);
    assert_true(is_marked_at(w, status_addr(w, 0, 0)));
    assert_true(assert_changes_marked(w) >= 2);
}

static void ring_that_is_stopped_and_started_goes_on_being_logged(void **state)
{
    struct world *w = *state;
    uint32_t base;

    log_all(w);
    do_batch(w);
    for (unsigned i = 0; i < RINGS; i++) {
        pause_drained(w, PAUSE_MESSAGE);
        base = device_ring_stop(&w->dev, i);
        start_ring(w, i, base);
        device_resume(&w->dev, PAUSE_MESSAGE);
    }
    do_batch(w);
}

static void truncated_log_breaks_the_rings_of_all_threads(void **state)
{
    struct world *w = *state;

    if (RUNNING_ON_VALGRIND) {
        skip();
    }
    mem_guard_install();
    set_lanes(w, 2);
    log_all(w);
    assert_return_code(ftruncate(w->log_fd, 0), errno);
    put_data(w, 1, 0, VIRTIO_BLK_T_IN, w->data, PAGE);
    kick(w, 1);
    for (unsigned i = 0; i < RINGS; i++) {
        bool is_broken = false;

        run_until(w, (device_park(&w->dev), is_broken = w->dev.queue[i].ring.is_broken,
                      device_unpark(&w->dev), is_broken));
        assert_string_equal(w->dev.queue[i].ring.fault, MEM_LOG_LOST);
    }
    assert_return_code(ftruncate(w->log_fd, LOG_BYTES), errno);
}

#define world_test(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)
#define flags_test(test)                                       \
    {                                                          \
#test " by flags", test, flags_start, world_stop, NULL \
    }

static void on_changed(struct device_change *change)
{
    change->dev = NULL;
}

/* Who migrates takes the size along: what was asked for before is not done any more. */
static void disk_keeps_its_size_once_its_guest_is_migrated(void **state)
{
    struct world *w = *state;
    struct device_change change = {.kind = CHANGE_SIZE,
                                   .node = device_image(&w->dev)->root,
                                   .size_bytes = IMAGE_BYTES - 65536,
                                   .done = on_changed};

    assert_int_equal(device_change_begin(&w->dev, &change, NULL), 0);
    log_all(w);
    run_until(w, !change.dev);
    assert_int_equal(change.err.code, -EBUSY);
    assert_int_equal(device_capacity(&w->dev), IMAGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        world_test(each_changed_page_is_marked),
        flags_test(each_changed_page_is_marked),
        world_test(each_changed_page_is_marked_by_several_threads),
        flags_test(each_changed_page_is_marked_by_several_threads),
        world_test(each_changed_page_is_marked_behind_bounce_buffers),
        world_test(read_marks_data_status_and_ring),
        world_test(write_marks_status_and_ring_alone),
        world_test(serial_number_is_marked),
        world_test(read_in_flight_when_logging_began_is_marked),
        world_test(log_that_is_not_switched_on_stays_empty),
        world_test(data_and_rings_are_switched_apart),
        world_test(ring_is_marked_at_its_log_address),
        world_test(log_may_come_last),
        world_test(log_ends_with_the_last_that_wants_it),
        world_test(log_that_a_ring_is_past_is_refused),
        world_test(reset_ends_the_log),
        world_test(held_request_is_marked_when_it_fails_and_when_it_is_answered),
        world_test(ignored_read_is_marked_where_it_was_zeroed),
        world_test(reset_marks_what_it_answers),
        world_test(ring_that_is_stopped_and_started_goes_on_being_logged),
        world_test(disk_keeps_its_size_once_its_guest_is_migrated),
        world_test(truncated_log_breaks_the_rings_of_all_threads),
    };

    return unit_run(tests);
}
