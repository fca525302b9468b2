/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/block/path_file.h"
#include "tests/sim/guest.h"
#include "tests/sim/image_inside.h"
#include "tests/sim/kernel.h"
#include "tests/sim/model.h"
#include "tests/sim/sim.h"

#define OPS 256u

static struct sim_op ops[OPS];
static unsigned op_count; /* that the kernel has, or has done */
static unsigned busy;     /* of these, those that it has */
static uint8_t sectors[IMAGE_SECTORS][SECTOR_SIZE];
static uint8_t stable[IMAGE_SECTORS][SECTOR_SIZE];

void image_reset(void)
{
    for (unsigned i = 0; i < op_count; i++) {
        ops[i] = (struct sim_op){0};
    }
    op_count = 0;
    busy = 0;
    memset(sectors, 0, sizeof(sectors));
    memset(stable, 0, sizeof(stable));
}

unsigned image_busy(void)
{
    return busy;
}

const uint8_t *image_sector(unsigned sector)
{
    return sectors[sector];
}

const uint8_t *image_stable_sector(unsigned sector)
{
    return stable[sector];
}

/* ---- what operations do ---- */

bool image_begin(const struct sim_op *op)
{
    if (op_count == OPS) {
        return false;
    }
    ops[op_count] = *op;
    ops[op_count].wakes = sim.events + (sim_once_in(16) ? sim_draw(400) : 0);
    ops[op_count++].is_under_way = true;
    busy++;
    sim_trace("kernel: begins %s of sectors %u..", op_names[op->op],
              (unsigned)(op->offset / SECTOR_SIZE));
    return true;
}

bool image_take(const void *owner, struct sim_op *op)
{
    for (unsigned i = 0; i < op_count; i++) {
        if (!ops[i].is_under_way && ops[i].owner == owner) {
            *op = ops[i];
            for (op_count--; i < op_count; i++) {
                ops[i] = ops[i + 1];
            }
            return true;
        }
    }
    return false;
}

/* What a process has had the kernel read into its own memory is gone with it, what it was to write
 * is not: those pages are the kernel's. */
static void move_piece(const struct sim_piece *piece, uint64_t at, uint8_t *sector, size_t bytes,
                       bool to_guest)
{
    uint8_t *memory = piece->is_bounced ? piece->bounce : guest_memory + piece->offset;

    if (to_guest && memory) {
        memcpy(memory + at, sector, bytes);
    } else if (!to_guest) {
        memcpy(sector, memory + at, bytes);
    }
}

/* Between the image and the place in guest memory that the operation has come to. */
static void move_bytes(const struct sim_op *op, uint64_t at, uint8_t *sector, bool to_guest)
{
    size_t left = SECTOR_SIZE;

    for (unsigned i = 0; i < op->piece_count && left > 0; i++) {
        const struct sim_piece *piece = &op->piece[i];
        size_t part;

        if (at >= piece->bytes) {
            at -= piece->bytes;
            continue;
        }
        part = min_of(left, piece->bytes - (size_t)at);
        move_piece(piece, at, sector, part, to_guest);
        sector += part;
        left -= part;
        at = 0;
    }
    assert(left == 0);
}

static void do_one(const struct sim_op *op)
{
    unsigned sector = (unsigned)((op->offset + op->done) / SECTOR_SIZE);

    switch (op->op) {
    case IO_READ:
        move_bytes(op, op->done, sectors[sector], true);
        break;
    case IO_WRITE:
        move_bytes(op, op->done, sectors[sector], false);
        break;
    default:
        if (op->op == IO_ZERO || sim_once_in(2)) {
            memset(sectors[sector], 0, SECTOR_SIZE);
        }
    }
    if (op->op != IO_READ && (op->flags & IO_FUA)) {
        memcpy(stable[sector], sectors[sector], SECTOR_SIZE);
    }
}

static void end_op(struct sim_op *op, int64_t result)
{
    op->is_under_way = false;
    op->result = result;
    busy--;
    sim_trace("kernel: ends %s of sectors %u..: %lld", op_names[op->op],
              (unsigned)(op->offset / SECTOR_SIZE), (long long)result);
    if (op->owner) {
        kernel_signal(op->event_fd);
    } else {
        *op = ops[--op_count];
    }
}

/* Who asked for it is told, and may ask again or be answered so. */
static void fail_op(struct sim_op *op)
{
    guest_may_fail(op->op, op->offset, op->length);
    end_op(op, op->op == IO_READ || sim_once_in(2) ? -EIO : -ENOSPC);
}

static bool is_failure(void)
{
    return !sim.is_ending && sim.config.error_permille > 0 &&
           sim_draw(1000) < sim.config.error_permille;
}

static int64_t result_of(const struct sim_op *op)
{
    return op->op <= IO_WRITE ? (int64_t)op->done : 0;
}

/* One that comes short fails: whoever sees that knows of no other reason. */
static bool is_bounced_write(const struct sim_op *op)
{
    return op->op == IO_WRITE && op->piece[0].is_bounced;
}

/* Some sectors; now and then it ends short, or for the moment not at all. */
static void go_on(struct sim_op *op)
{
    unsigned count = 1 + sim_draw(4);

    if (is_failure()) {
        fail_op(op);
        return;
    }
    if (op->op == IO_FLUSH) {
        memcpy(stable, sectors, sizeof(stable));
        end_op(op, 0);
        return;
    }
    if (op->op <= IO_WRITE && op->done == 0 && sim_once_in(30)) {
        end_op(op, -EAGAIN);
        return;
    }
    for (; count > 0 && op->done < op->length; count--) {
        do_one(op);
        op->done += SECTOR_SIZE;
    }
    if (op->done == op->length) {
        end_op(op, result_of(op));
    } else if (op->is_whole && !is_bounced_write(op) && sim_once_in(30)) {
        end_op(op, result_of(op));
    }
}

static bool is_awake(const struct sim_op *op)
{
    return op->is_under_way && op->wakes <= sim.events;
}

unsigned image_ready(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < op_count; i++) {
        count += is_awake(&ops[i]);
    }
    return count;
}

void image_step(unsigned which)
{
    for (unsigned i = 0; i < op_count; i++) {
        if (is_awake(&ops[i]) && which-- == 0) {
            go_on(&ops[i]);
            return;
        }
    }
}

bool image_wake(void)
{
    for (unsigned i = 0; i < op_count; i++) {
        ops[i].wakes = 0;
    }
    return busy > 0;
}

/* A write out of memory that is gone is done at once: its pages are as they were then. */
static void forget_memory(struct sim_op *op)
{
    op->owner = NULL;
    if (op->piece_count == 1 && op->piece[0].is_bounced) {
        while (op->op == IO_WRITE && op->done < op->length) {
            do_one(op);
            op->done += SECTOR_SIZE;
        }
        op->piece[0].bounce = NULL;
    }
}

void image_orphan(void)
{
    unsigned left = 0;

    for (unsigned i = 0; i < op_count; i++) {
        if (ops[i].is_under_way) {
            ops[left] = ops[i];
            forget_memory(&ops[left++]);
        }
    }
    op_count = left;
}

bool image_has_orphans(void)
{
    for (unsigned i = 0; i < op_count; i++) {
        if (!ops[i].owner) {
            return true;
        }
    }
    return false;
}

/* ---- a node over path_file ---- */

struct sim_node {
    struct node node;
    struct image_file file;
};

static struct image_file *file_of(struct node *node)
{
    return &containerof(node, struct sim_node, node)->file;
}

static int sim_node_open(struct node *node, const void *arg, struct err *err)
{
    static char path[] = "sim";

    file_of(node)->path = path;
    file_of(node)->fd = -1;
    file_of(node)->is_direct = sim.config.is_direct;
    file_of(node)->shape.mem_align = 1;
    file_of(node)->shape.block_size = SECTOR_SIZE;
    node->facts.size = IMAGE_SECTORS * SECTOR_SIZE;
    node->facts.block_size = SECTOR_SIZE;
    node->facts.logical_block = SECTOR_SIZE;
    node->facts.physical_block = SECTOR_SIZE;
    node->facts.discard_block = SECTOR_SIZE;
    node->facts.can_zero = true;
    node->facts.needs_sync = true;
    node->facts.fd = -1;
    return 0;
}

static int sim_node_attach(struct path *path, struct err *err)
{
    const struct engine_opts opts = {.path = "sim", .fd = -1, .wanted = sim.config.max_inflight};

    return path_file_attach(path, file_of(path->node), &opts, err);
}

static const struct node_ops sim_node_ops = {
    .type = "sim",
    .node_bytes = sizeof(struct sim_node),
    .path_bytes = sizeof(struct path_file),
    .open = sim_node_open,
    .attach = sim_node_attach,
    .detach = path_file_detach,
    .start = path_file_start,
    .leaf = &path_file_leaf_ops,
};

int sim_image_open(struct image **out)
{
    struct node *root;
    int ret = node_open(&root, &sim_node_ops, NULL, NULL, NULL);

    if (ret == 0) {
        ret = image_new(out, root);
    }
    if (ret == 0) {
        (*out)->holds_errors = sim.config.holds_errors;
    }
    return ret;
}
