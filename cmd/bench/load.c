/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/load.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool has_data(const struct bench_options *options)
{
    return options->rw != BENCH_FLUSH && options->rw != BENCH_DISCARD;
}

static int need(const struct front *front, unsigned feature, const char *what, struct err *err)
{
    return blk_driver_has(&front->blk, feature)
               ? 0
               : err_say(err, -ENOTSUP, "%s: the disk offers no %s", front->name, what);
}

static int check_abilities(const struct bench_options *options, const struct front *front,
                           struct err *err)
{
    if (bench_writes(options) && blk_driver_has(&front->blk, VIRTIO_BLK_F_RO)) {
        return err_say(err, -EROFS, "%s: the disk is read-only", front->name);
    }
    if (options->rw == BENCH_FLUSH) {
        return need(front, VIRTIO_BLK_F_FLUSH, "flush", err);
    }
    return options->rw == BENCH_DISCARD ? need(front, VIRTIO_BLK_F_DISCARD, "discard", err) : 0;
}

static int check_block(const struct bench_options *options, const struct front *front,
                       struct err *err)
{
    const struct blk_driver *blk = &front->blk;

    if (options->block_bytes % blk->block_size != 0 || options->offset % blk->block_size != 0) {
        return err_say(err, -EINVAL,
                       "%s: the disk's blocks have %u bytes; --bs and --offset take "
                       "multiples of that",
                       front->name, blk->block_size);
    }
    if (has_data(options) && blk->size_max > 0 && options->block_bytes > blk->size_max) {
        return err_say(err, -EINVAL, "%s: the disk takes %u bytes in one piece; --bs takes fewer",
                       front->name, blk->size_max);
    }
    return 0;
}

/* As the back-end tells it: so that bytes of it can be counted. */
static int check_capacity(const struct front *front, struct err *err)
{
    uint64_t sectors = front->blk.capacity;

    if (sectors == 0) {
        return err_say(err, -EINVAL, "%s: the disk is empty, its back-end says", front->name);
    }
    return sectors > (uint64_t)INT64_MAX / SECTOR_SIZE
               ? err_say(err, -EPROTO,
                         "%s: the back-end says that the disk has %" PRIu64
                         " sectors, which is more than there can be",
                         front->name, sectors)
               : 0;
}

/* The part of the disk that is used, in whole blocks of the load. */
static int choose_range(struct load *load, struct err *err)
{
    const struct bench_options *options = load->options;
    uint64_t disk = load->front->blk.capacity * SECTOR_SIZE;
    uint64_t size = options->size;

    if (size == 0 && options->offset < disk) {
        size = disk - options->offset;
    }
    if (!range_ok(options->offset, size, disk) || size == 0) {
        return err_say(err, -EINVAL,
                       "%s: the disk ends at %" PRIu64 " bytes, before the part that --offset and "
                       "--size name",
                       load->front->name, disk);
    }
    load->offset = options->offset / SECTOR_SIZE;
    load->blocks = size / options->block_bytes;
    return load->blocks > 0 ? 0
                            : err_say(err, -EINVAL,
                                      "%s: not even one block of %u bytes in %" PRIu64
                                      " bytes of disk; --bs takes fewer",
                                      load->front->name, options->block_bytes, size);
}

static void make_free_lists(struct load *load)
{
    struct front *front = load->front;

    for (unsigned queue = 0; queue < front->queues; queue++) {
        struct front_slot *slots = front_slots_of(front, queue);

        for (unsigned i = front->depth; i-- > 0;) {
            slots[i].next = load->free[queue];
            load->free[queue] = &slots[i];
        }
    }
}

static void set_data(struct load *load)
{
    const struct bench_options *options = load->options;
    struct front *front = load->front;

    for (size_t i = 0; i < (size_t)front->queues * front->depth; i++) {
        struct blk_driver_request *request = &front->slots[i].request;

        request->len = has_data(options) ? options->block_bytes : 0;
        request->data = has_data(options) ? request->data : NULL;
    }
}

int load_init(struct load *load, const struct bench_options *options, struct front *front,
              struct err *err)
{
    int ret;

    memset(load, 0, sizeof(*load));
    load->options = options;
    load->front = front;
    load->random = 88172645463325252ull;
    load->shows_progress = !options->is_json && isatty(STDERR_FILENO);
    ret = check_abilities(options, front, err);
    if (ret == 0) {
        ret = check_capacity(front, err);
    }
    if (ret == 0) {
        ret = check_block(options, front, err);
    }
    if (ret == 0) {
        ret = choose_range(load, err);
    }
    if (ret == 0 && options->verifies) {
        ret = verify_init(&load->verify, options->offset, load->blocks, options->block_bytes, err);
    }
    if (ret == 0) {
        make_free_lists(load);
        set_data(load);
        /* A rate is kept with sleeps; the default is 50 us late.  A kernel that refuses is later.
         */
        (void)prctl(PR_SET_TIMERSLACK, 1);
    }
    return ret;
}

void load_fini(struct load *load)
{
    verify_fini(&load->verify);
}
