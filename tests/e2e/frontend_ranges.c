/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/e2e/frontend_cases.h"

#include <string.h>

/*
 * Discards and zeroes.  Others than ours may not offer them, or take one segment only: that is
 * UNSUPP, and the end of a case.
 */

#define UNMAP VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
#define SECTORS 128u

static bool has_ranges(const struct frontend *fe)
{
    return (fe->blk.features >> VIRTIO_BLK_F_DISCARD & 1) &&
           (fe->blk.features >> VIRTIO_BLK_F_WRITE_ZEROES & 1);
}

static int do_segments(struct frontend *fe, uint32_t type,
                       struct virtio_blk_discard_write_zeroes *segments, unsigned count)
{
    return frontend_do(&fe->ring[0], type, 0, segments, (uint32_t)(count * sizeof(*segments)));
}

/* Bytes that are not 0 in the first sectors. */
static void fill_sectors(struct frontend *fe)
{
    uint8_t data[SECTORS * 512];

    memset(data, 0xaa, sizeof(data));
    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_OUT, 0, data, sizeof(data)) == 0);
}

static bool reads_as(struct frontend *fe, uint64_t first, uint64_t sectors, uint8_t value)
{
    uint8_t data[SECTORS * 512] = {0};

    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_IN, 0, data, sizeof(data)) == 0);
    for (uint64_t i = first * 512; i < (first + sectors) * 512; i++) {
        if (data[i] != value) {
            return false;
        }
    }
    return true;
}

static void zeroes_of_many_segments_are_there(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct virtio_blk_discard_write_zeroes segments[] = {
        {8, 8, 0}, {32, 0, 0}, {64, 16, UNMAP}, {127, 1, 0}};
    int status;

    if (!has_ranges(fe)) {
        return;
    }
    fill_sectors(fe);
    status = do_segments(fe, VIRTIO_BLK_T_WRITE_ZEROES, segments, 4);
    if (status == VIRTIO_BLK_S_UNSUPP) {
        return;
    }
    require(status == VIRTIO_BLK_S_OK);
    require(reads_as(fe, 0, 8, 0xaa) && reads_as(fe, 8, 8, 0) && reads_as(fe, 16, 48, 0xaa));
    require(reads_as(fe, 64, 16, 0) && reads_as(fe, 80, 47, 0xaa) && reads_as(fe, 127, 1, 0));
}

static void segments_that_cannot_be_are_refused(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct virtio_blk_discard_write_zeroes unmap = {0, 8, UNMAP};
    struct virtio_blk_discard_write_zeroes unknown = {0, 8, 2};
    struct virtio_blk_discard_write_zeroes outside = {fe->blk.capacity, 8, 0};
    struct virtio_blk_discard_write_zeroes wraps = {UINT64_MAX - 3, 8, 0};

    if (!has_ranges(fe)) {
        return;
    }
    fill_sectors(fe);
    require(do_segments(fe, VIRTIO_BLK_T_DISCARD, &unmap, 1) == VIRTIO_BLK_S_UNSUPP);
    require(do_segments(fe, VIRTIO_BLK_T_DISCARD, &unknown, 1) == VIRTIO_BLK_S_UNSUPP);
    require(do_segments(fe, VIRTIO_BLK_T_WRITE_ZEROES, &unknown, 1) == VIRTIO_BLK_S_UNSUPP);
    require(do_segments(fe, VIRTIO_BLK_T_DISCARD, &outside, 1) == VIRTIO_BLK_S_IOERR);
    require(do_segments(fe, VIRTIO_BLK_T_WRITE_ZEROES, &wraps, 1) == VIRTIO_BLK_S_IOERR);
    require(reads_as(fe, 0, SECTORS, 0xaa));
}

static void one_segment_that_cannot_be_leaves_the_others_undone(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct virtio_blk_discard_write_zeroes segments[] = {{0, 8, 0}, {fe->blk.capacity - 4, 8, 0}};

    if (!has_ranges(fe)) {
        return;
    }
    fill_sectors(fe);
    require(do_segments(fe, VIRTIO_BLK_T_WRITE_ZEROES, segments, 2) != VIRTIO_BLK_S_OK);
    require(reads_as(fe, 0, SECTORS, 0xaa));
}

/* As libblkio's clients do, which do not look at what they are told. */
static void more_segments_than_a_driver_is_told_of_are_served(void)
{
    enum { COUNT = 512 };
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    struct virtio_blk_discard_write_zeroes segments[COUNT];
    int status;

    if (!has_ranges(fe)) {
        return;
    }
    fill_sectors(fe);
    for (unsigned i = 0; i < COUNT; i++) {
        segments[i] = (struct virtio_blk_discard_write_zeroes){i * 8, 8, UNMAP};
    }
    status = do_segments(fe, VIRTIO_BLK_T_WRITE_ZEROES, segments, COUNT);
    if (status == VIRTIO_BLK_S_UNSUPP) {
        return;
    }
    require(status == VIRTIO_BLK_S_OK);
    require(reads_as(fe, 0, SECTORS, 0));
}

static void discards_beside_reads_and_writes_all_end(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    unsigned left = opts.queues * opts.depth;

    if (!has_ranges(fe)) {
        return;
    }
    for (unsigned i = 0; i < left; i++) {
        static const uint32_t types[] = {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_IN,
                                         VIRTIO_BLK_T_WRITE_ZEROES};
        uint32_t type = types[i / 2 % 4];
        bool is_range = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
        struct virtio_blk_discard_write_zeroes segment = {i * 64, 64, 0};
        struct frontend_request *request =
            frontend_prepare(&fe->ring[i % 2], type, i * 64, is_range ? 16 : 4096);

        memcpy(request->data, &segment, sizeof(segment));
        frontend_put(request);
    }
    frontend_kick(&fe->ring[0]);
    frontend_kick(&fe->ring[1]);
    while (left > 0) {
        require(frontend_wait(fe, FRONTEND_TIMEOUT_MS) == 0);
        for (unsigned i = 0; i < opts.queues; i++) {
            struct frontend_request *request;

            while ((request = frontend_reap(&fe->ring[i]))) {
                require(request->blk->status == VIRTIO_BLK_S_OK);
                frontend_release(request);
                left--;
            }
        }
    }
    require(frontend_do(&fe->ring[0], VIRTIO_BLK_T_FLUSH, 0, NULL, 0) == VIRTIO_BLK_S_OK);
}

#define CASE(name)  \
    {               \
#name, name \
    }

const struct frontend_case range_cases[] = {
    CASE(zeroes_of_many_segments_are_there),
    CASE(segments_that_cannot_be_are_refused),
    CASE(one_segment_that_cannot_be_leaves_the_others_undone),
    CASE(more_segments_than_a_driver_is_told_of_are_served),
    CASE(discards_beside_reads_and_writes_all_end),
    {0},
};
