/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/node_sector.h"

#include <assert.h>
#include <errno.h>

#include "core/base/slots.h"
#include "core/block/context.h"
#include "core/block/patch.h"
#include "core/block/path.h"

/* Changes of whole blocks that are under way at once on a lane: what an AIO context has. */
#define PASSES 256u

/* A change of whole blocks: what the child has, so that its end is seen. */
struct pass {
    struct slot slot;
    struct io io;
    struct block_lock lock;
    struct path_sector *sector; /* parent */
    struct io *asked;
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

struct path_sector {
    struct path path;
    struct block_lane lane;
    struct slots passes;
    struct io_list waiting; /* for a pass */
    struct patches patches;
};

static struct path_sector *path_sector_of(struct path *path)
{
    return containerof(path, struct path_sector, path);
}

static struct node_sector *node_sector_of(struct node *node)
{
    return containerof(node, struct node_sector, node);
}

/* ---- the node ---- */

static uint32_t at_least(uint32_t value, uint32_t least)
{
    return value > least ? value : least;
}

static int sector_open(struct node *node, const void *opts, struct err *err)
{
    struct node_sector *sector = node_sector_of(node);
    struct node_facts *facts = &node->facts;

    assert(is_power_of_2(facts->block_size) && facts->block_size > SECTOR_SIZE);
    sector->block = facts->block_size;
    block_locks_init(&sector->locks);
    facts->block_size = SECTOR_SIZE;
    facts->logical_block = SECTOR_SIZE;
    facts->physical_block = at_least(facts->physical_block, sector->block);
    facts->patched_block = sector->block;
    if (facts->discard_block) {
        facts->discard_block = at_least(facts->discard_block, sector->block);
    }
    return 0;
}

static void sector_close(struct node *node)
{
    block_locks_fini(&node_sector_of(node)->locks);
}

/* ---- the path ---- */

static int sector_attach(struct path *path, struct err *err)
{
    struct node_sector *node = node_sector_of(path->node);
    struct path_sector *sector = path_sector_of(path);
    int ret = slots_init(&sector->passes, sizeof(struct pass), PASSES);

    if (ret < 0) {
        return err_set(err, ret, "room for requests of sectors");
    }
    ret = patches_init(&sector->patches, path->child[0], &sector->lane, node->block);
    if (ret < 0) {
        slots_fini(&sector->passes);
        return err_set(err, ret, "buffers for requests of sectors");
    }
    io_list_init(&sector->waiting);
    block_lane_open(&sector->lane, &node->locks, path->context);
    return 0;
}

static void sector_detach(struct path *path)
{
    struct path_sector *sector = path_sector_of(path);

    block_lane_close(&sector->lane);
    patches_fini(&sector->patches);
    slots_fini(&sector->passes);
}

/* ---- whole blocks ---- */

static void begin_pass(struct path_sector *sector, struct io *io);

static void end_pass(struct pass *pass, int64_t result)
{
    struct path_sector *sector = pass->sector;
    struct io *asked = pass->asked;

    slots_give(&sector->passes, pass);
    if (sector->waiting.first) {
        begin_pass(sector, io_list_take(&sector->waiting));
    }
    io_end(asked, result);
}

static void on_pass_done(struct io *io)
{
    struct pass *pass = containerof(io, struct pass, io);

    block_lock_end(&pass->lock);
    end_pass(pass, io->result);
}

static void on_pass_had(struct block_lock *lock)
{
    struct pass *pass = containerof(lock, struct pass, lock);

    path_start(pass->sector->path.child[0], &pass->io);
}

/* Nothing of it is a whole block.  It ends outside of start, as all do. */
static void run_pass_over(struct message *message)
{
    struct pass *pass = containerof(message, struct pass, lock.message);

    context_wake(pass->sector->path.context);
    end_pass(pass, 0);
}

static void begin_pass(struct path_sector *sector, struct io *io)
{
    struct pass *pass = slots_take(&sector->passes);
    const uint32_t block = node_sector_of(sector->path.node)->block;
    const uint64_t first = round_up(io->offset, block); /* what is cut is a discard */
    const uint64_t end = round_down(io->offset + io->length, block);

    pass->sector = sector;
    pass->asked = io;
    if (first >= end) {
        pass->lock.message.run = run_pass_over;
        context_send(sector->path.context, &pass->lock.message);
        return;
    }
    pass->io = *io;
    pass->io.offset = first;
    pass->io.length = end - first;
    pass->io.done = on_pass_done;
    pass->io.frame = pass->frame;
    pass->lock = (struct block_lock){.had = on_pass_had, .first = first, .end = end};
    if (block_lock_take(&sector->lane, &pass->lock)) {
        on_pass_had(&pass->lock);
    }
}

static void start_pass(struct path_sector *sector, struct io *io)
{
    if (slots_has_free(&sector->passes) && !sector->waiting.first) {
        begin_pass(sector, io);
    } else {
        io_list_append(&sector->waiting, io);
    }
}

static void sector_start(struct path *path, struct io *io)
{
    struct path_sector *sector = path_sector_of(path);
    const bool is_whole = is_aligned(io->offset | io->length, node_sector_of(path->node)->block);

    if (io->op == IO_FLUSH || (io->op == IO_READ && is_whole)) {
        path_start(path->child[0], io);
    } else if (io->op == IO_DISCARD || is_whole) {
        start_pass(sector, io);
    } else {
        patches_start(&sector->patches, io);
    }
}

const struct node_ops node_sector_ops = {
    .type = "sector",
    .node_bytes = sizeof(struct node_sector),
    .path_bytes = sizeof(struct path_sector),
    .open = sector_open,
    .close = sector_close,
    .attach = sector_attach,
    .detach = sector_detach,
    .start = sector_start,
};
