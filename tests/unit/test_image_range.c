/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Disks of a range of a file: whatever they are asked, nothing outside is changed or read.
 */

#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/block/image_range.h"
#include "tests/unit/image_world.h"

#define SEED 20261128u
#define ROUNDS 40u
#define RANGES 2u
#define OPS 24u
#define MIB (1u << 20)

/* ---- plain values ---- */

static const struct image_shape shape_of_file = {
    .size = 10 * MIB, .block_size = 512, .logical_block = 512, .physical_block = 4096};

static int fit(struct image_world *w, uint64_t offset, uint64_t length, struct image_shape *shape)
{
    const struct image_range range = {offset, length};

    w->err.text[0] = '\0';
    return image_range_fit(&range, shape, "/a/file", &w->err);
}

static int fit_file(struct image_world *w, uint64_t offset, uint64_t length)
{
    struct image_shape shape = shape_of_file;

    return fit(w, offset, length, &shape);
}

static void range_has_to_lie_within_in_whole_blocks(void **state)
{
    struct image_world *w = *state;
    struct image_shape device = shape_of_file;

    assert_int_equal(fit_file(w, 0, 10 * MIB), 0);
    assert_int_equal(fit_file(w, 10 * MIB - 512, 512), 0);
    assert_int_equal(fit_file(w, 10 * MIB - 512, 0), 0);
    assert_int_equal(fit_file(w, 512, 10 * MIB), -EINVAL);
    assert_string_equal(
        w->err.text, "image /a/file has 10485760 bytes, and the disk is bytes 512 to 10486271 of "
                     "it; make it as large, or choose another --offset or --length");
    assert_int_equal(fit_file(w, 10 * MIB, 0), -EINVAL);
    assert_non_null(strstr(w->err.text, "10485760 bytes, and the disk begins at byte 10485760"));
    assert_int_equal(fit_file(w, INT64_MAX - 511, 0), -EINVAL);
    assert_int_equal(fit_file(w, 1000, 512), -EINVAL);
    device.logical_block = 4096;
    assert_int_equal(fit(w, 4096, 512, &device), -EINVAL);
    assert_non_null(strstr(w->err.text, "has blocks of 4096 bytes, and length 512 is no multiple"));
    assert_int_equal(fit(w, 512, 4096, &device), -EINVAL);
    assert_non_null(strstr(w->err.text, "offset 512 is no multiple"));
    device.logical_block = 512;
    device.block_size = 4096;
    assert_int_equal(fit(w, 512, 4096, &device), -EINVAL);
    assert_int_equal(fit(w, 8192, 4096, &device), 0);
    assert_int_equal(device.size, 4096);
}

static uint32_t alignment_at(struct image_world *w, uint64_t offset, uint32_t own)
{
    struct image_shape shape = shape_of_file;

    shape.alignment = own;
    assert_int_equal(fit(w, offset, 0, &shape), 0);
    assert_int_equal(shape.size, 10 * MIB - offset);
    return shape.alignment % shape.physical_block;
}

static void first_physical_block_lies_where_the_images_do(void **state)
{
    struct image_world *w = *state;

    assert_int_equal(alignment_at(w, MIB, 0), 0);
    assert_int_equal(alignment_at(w, 512, 0), 3584);
    assert_int_equal(alignment_at(w, 3584, 0), 512);
    assert_int_equal(alignment_at(w, 4096, 3584), 3584);
    assert_int_equal(alignment_at(w, 63 * 512, 3584), 0); /* old partitions begin there */
    assert_int_equal(alignment_at(w, 512, 3584), 3072);
}

static void size_is_that_of_the_range_and_no_more_than_there_is(void **state)
{
    const struct image_range fixed = {MIB, MIB}, open_ended = {MIB, 0};
    struct image_world *w = *state;
    uint64_t bytes;

    assert_int_equal(image_range_bytes(&fixed, 8 * MIB), MIB);
    assert_int_equal(image_range_bytes(&fixed, MIB + 512), 512);
    assert_int_equal(image_range_bytes(&fixed, 512), 0);
    assert_int_equal(image_range_bytes(&open_ended, 8 * MIB), 7 * MIB);
    assert_int_equal(image_range_file_bytes(&open_ended, 2 * MIB, &bytes, &w->err), 0);
    assert_int_equal(bytes, 3 * MIB);
    assert_int_equal(image_range_file_bytes(&fixed, 2 * MIB, &bytes, &w->err), -EINVAL);
    assert_non_null(strstr(w->err.text, "another --length"));
    assert_int_equal(image_range_file_bytes(&open_ended, INT64_MAX, &bytes, &w->err), -EFBIG);
}

/* ---- open ---- */

static struct image_opts range_opts(const struct image_world *w, uint64_t offset, uint64_t length)
{
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    opts.range = (struct image_range){offset, length};
    return opts;
}

static void put(const struct image_world *w, uint64_t offset, const void *bytes, size_t len)
{
    int fd = open(w->image, O_WRONLY | O_CLOEXEC);

    assert_int_equal(pwrite(fd, bytes, len, (off_t)offset), len);
    close(fd);
}

static void format_and_geometry_are_those_of_the_range(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = range_opts(w, MIB, MIB);
    uint8_t sector[512] = {0};

    sector[510] = 0x55;
    sector[511] = 0xaa;
    sector[446 + 5] = 6;   /* heads - 1 */
    sector[446 + 6] = 17;  /* sectors */
    sector[446 + 12] = 99; /* its length */
    put(w, MIB, sector, sizeof(sector));
    put(w, 0, "QFI\xfb\0\0\0\3", 8);
    opts.probe = opts.is_new = true;
    (void)image_world_open_with(w, &opts);
    assert_int_equal(image_facts(w->way.image)->size, MIB);
    assert_int_equal(image_facts(w->way.image)->chs.heads, 7);
    assert_int_equal(image_facts(w->way.image)->chs.sectors, 17);
    way_close(&w->way);
    opts.range.offset = 0;
    assert_int_equal(image_world_try(w, &opts), -EMEDIUMTYPE);
    put(w, 2 * MIB, "QFI\xfb\0\0\0\3", 8);
    opts.range.offset = 2 * MIB;
    assert_int_equal(image_world_try(w, &opts), -EMEDIUMTYPE);
}

static void ranges_apart_are_open_at_once(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = range_opts(w, MIB, MIB);
    struct way other;

    (void)image_world_open_with(w, &opts);
    opts = range_opts(w, 2 * MIB, 0);
    assert_int_equal(way_open(&other, &opts, &w->err), 0);
    opts = range_opts(w, 2 * MIB - 512, 512);
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    opts = range_opts(w, 0, 0);
    assert_int_equal(image_world_try(w, &opts), -EBUSY);
    opts = range_opts(w, 0, MIB);
    assert_int_equal(image_world_try(w, &opts), 0);
    way_close(&other);
}

static int second_with(struct image_world *w, enum cache_mode first, enum cache_mode second)
{
    struct image_opts opts = range_opts(w, MIB, MIB + 512);
    int ret;

    opts.cache = first;
    (void)image_world_open_with(w, &opts);
    opts = range_opts(w, 2 * MIB + 512, MIB);
    opts.cache = second;
    ret = image_world_try(w, &opts);
    way_close(&w->way);
    return ret;
}

/* It would write back what another disk has written past it. */
static void page_cache_shares_no_page_with_another_disk(void **state)
{
    struct image_world *w = *state;
    const struct image_range range = {MIB + 512, 512}, to_end = {4608, 0};
    struct image_opts opts = range_opts(w, 512, 512);

    assert_int_equal(image_range_pages(&range).offset, MIB);
    assert_int_equal(image_range_pages(&range).length, sysconf(_SC_PAGESIZE));
    assert_int_equal(image_range_pages(&to_end).length, 0);
    assert_int_equal(second_with(w, CACHE_WRITEBACK, CACHE_WRITEBACK), -EBUSY);
    opts.cache = CACHE_NONE;
    if (!image_world_has_direct(w) || image_world_try(w, &opts) < 0) {
        skip();
    }
    assert_int_equal(second_with(w, CACHE_NONE, CACHE_WRITEBACK), -EBUSY);
    assert_int_equal(second_with(w, CACHE_WRITEBACK, CACHE_NONE), -EBUSY);
    assert_int_equal(second_with(w, CACHE_NONE, CACHE_NONE), 0);
}

static void shrunk_image_is_missed_and_one_that_grew_is_as_before(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = range_opts(w, MIB, MIB);

    assert_int_equal(truncate(w->image, 2 * MIB - 512), 0);
    assert_int_equal(image_world_try(w, &opts), -EINVAL);
    assert_int_equal(truncate(w->image, 8 * MIB), 0);
    (void)image_world_open_with(w, &opts);
    assert_int_equal(image_facts(w->way.image)->size, MIB);
}

static off_t size_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);

    close(fd);
    return size;
}

static void only_a_range_to_the_end_gets_another_size(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = range_opts(w, MIB, MIB);

    (void)image_world_open_with(w, &opts);
    assert_int_equal(node_resize(w->way.image->root, 2 * MIB, &w->err), -EINVAL);
    assert_int_equal(size_of(w->image), IMAGE_BYTES);
    way_close(&w->way);
    opts.range.length = 0;
    (void)image_world_open_with(w, &opts);
    assert_int_equal(node_resize(w->way.image->root, 6 * MIB, &w->err), 0);
    assert_int_equal(size_of(w->image), 7 * MIB);
    assert_int_equal(node_resize(w->way.image->root, MIB, &w->err), 0);
    assert_int_equal(size_of(w->image), 2 * MIB);
}

/* ---- random traffic ---- */

struct traffic {
    uint64_t random;
    unsigned unit;  /* bytes */
    unsigned shift; /* of memory; not 0: O_DIRECT cannot take it */
    uint64_t begin[RANGES], length[RANGES];
    uint8_t *model; /* of the whole file */
    uint8_t *memory[RANGES];
    struct operation ops[RANGES][OPS];
};

/* xorshift64 */
static unsigned below(struct traffic *t, unsigned limit)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return (unsigned)(t->random % limit);
}

/* Each of a slice of the range, up to its edges, so that no two touch the same bytes. */
static void make_op(struct traffic *t, unsigned range, unsigned index)
{
    static const enum io_op kinds[] = {IO_READ, IO_WRITE, IO_WRITE, IO_ZERO, IO_DISCARD};
    struct operation *op = &t->ops[range][index];
    unsigned units = (unsigned)(t->length[range] / t->unit);
    unsigned first = index * units / OPS, end = (index + 1) * units / OPS;
    enum io_op kind = kinds[below(t, ARRAY_SIZE(kinds))];
    uint64_t offset, len;
    uint8_t *memory;

    first += below(t, 3) == 0 ? 0 : below(t, end - first);
    end -= below(t, 3) == 0 ? 0 : below(t, end - first);
    offset = (uint64_t)first * t->unit;
    len = (uint64_t)(end - first) * t->unit;
    memory = t->memory[range] + offset + t->shift;
    if (kind == IO_READ || kind == IO_WRITE) {
        fill_bytes(memory, len, below(t, 1000));
        operation_init(op, kind, offset, memory, len);
    } else {
        operation_init(op, kind, offset, NULL, 0);
        op->io.length = len;
        op->io.iov = NULL;
        op->io.iov_count = 0;
    }
    op->io.flags = kind == IO_WRITE || kind == IO_ZERO ? below(t, 2) * IO_FUA : 0;
    op->io.flags |= kind == IO_ZERO && below(t, 2) ? IO_MAY_UNMAP : 0;
}

/* What was discarded is as the file has it. */
static void take_result(struct traffic *t, const struct operation *op, unsigned range, int fd)
{
    uint64_t at = t->begin[range] + op->io.offset;

    assert(op->io.result == 0);
    switch (op->io.op) {
    case IO_READ:
        assert(memcmp(op->iov[0].iov_base, t->model + at, op->io.length) == 0);
        break;
    case IO_WRITE:
        memcpy(t->model + at, op->iov[0].iov_base, op->io.length);
        break;
    case IO_ZERO:
        memset(t->model + at, 0, op->io.length);
        break;
    default:
        assert(pread(fd, t->model + at, op->io.length, (off_t)at) == (ssize_t)op->io.length);
        break;
    }
}

static void run_round(struct traffic *t, struct way way[RANGES], int fd)
{
    t->shift = below(t, 4) ? 0 : 8;
    for (unsigned i = 0; i < OPS; i++) {
        for (unsigned range = 0; range < RANGES; range++) {
            make_op(t, range, i);
            operation_queue(&t->ops[range][i], way[range].path);
        }
    }
    for (unsigned range = 0; range < RANGES; range++) {
        assert(operations_run(way[range].path, t->ops[range], OPS));
    }
    for (unsigned range = 0; range < RANGES; range++) {
        for (unsigned i = 0; i < OPS; i++) {
            take_result(t, &t->ops[range][i], range, fd);
        }
    }
}

static void begin_traffic(struct traffic *t, struct image_world *w, enum cache_mode cache,
                          struct way way[RANGES])
{
    t->unit = cache_is_direct(cache) ? BLOCK : 512;
    t->begin[0] = 3 * BLOCK + (t->unit < BLOCK ? 512 : 0);
    t->length[0] = 200 * BLOCK + (t->unit < BLOCK ? 1024 : 0);
    t->begin[1] = round_up(t->begin[0] + t->length[0], (uint64_t)sysconf(_SC_PAGESIZE));
    t->length[1] = 300 * BLOCK;
    for (unsigned i = 0; i < RANGES; i++) {
        struct image_opts opts = range_opts(w, t->begin[i], t->length[i]);

        opts.cache = cache;
        t->memory[i] = aligned_buffer(t->length[i] + BLOCK);
        assert_int_equal(way_open(&way[i], &opts, &w->err), 0);
    }
}

static void traffic_stays_in_its_range(struct image_world *w, enum cache_mode cache)
{
    static struct traffic t;
    struct way way[RANGES];
    uint8_t *found = malloc(IMAGE_BYTES);
    int fd;

    if (cache_is_direct(cache) && !image_world_has_direct(w)) {
        skip();
    }
    t = (struct traffic){.random = SEED, .model = malloc(IMAGE_BYTES)};
    fill_bytes(t.model, IMAGE_BYTES, 77);
    put(w, 0, t.model, IMAGE_BYTES);
    fd = open(w->image, O_RDONLY | O_CLOEXEC);
    begin_traffic(&t, w, cache, way);
    for (unsigned round = 0; round < ROUNDS; round++) {
        run_round(&t, way, fd);
    }
    assert_int_equal(pread(fd, found, IMAGE_BYTES, 0), IMAGE_BYTES);
    assert_memory_equal(found, t.model, IMAGE_BYTES);
    assert_int_equal(lseek(fd, 0, SEEK_END), IMAGE_BYTES);
    for (unsigned i = 0; i < RANGES; i++) {
        way_close(&way[i]);
        free(t.memory[i]);
    }
    close(fd);
    free(found);
    free(t.model);
}

static void direct_traffic_stays_in_its_range(void **state)
{
    traffic_stays_in_its_range(*state, CACHE_NONE);
}

static void buffered_traffic_stays_in_its_range(void **state)
{
    traffic_stays_in_its_range(*state, CACHE_WRITEBACK);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)
#define traffic_tests(by) \
    by(direct_traffic_stays_in_its_range), by(buffered_traffic_stays_in_its_range)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(range_has_to_lie_within_in_whole_blocks),
        in_world(first_physical_block_lies_where_the_images_do),
        in_world(size_is_that_of_the_range_and_no_more_than_there_is),
        in_world(format_and_geometry_are_those_of_the_range),
        in_world(ranges_apart_are_open_at_once),
        in_world(page_cache_shares_no_page_with_another_disk),
        in_world(shrunk_image_is_missed_and_one_that_grew_is_as_before),
        in_world(only_a_range_to_the_end_gets_another_size),
        traffic_tests(by_aio),
        traffic_tests(by_threads),
        for_uring(traffic_tests)};

    return unit_run(tests);
}
