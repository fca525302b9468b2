/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/patch.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/iov.h"
#include "core/block/path.h"

/* Of a buffer at least, and two blocks: what is larger goes piece by piece. */
#define PATCH_BUFFER_BYTES (64u * 1024)

/* So few blocks are read as a whole, though the ones in the middle are written over. */
#define READ_WHOLE_BLOCKS 4u

struct patch {
    struct slot slot;
    struct io io; /* the child's */
    struct iovec iov;
    struct block_lock lock; /* not of a read */
    struct patches *patches;
    struct io *asked;
    uint8_t *buffer;                    /* lent: it goes with the slot */
    void (*go_on)(struct patch *patch); /* when `io` has ended well */
    uint64_t first;                     /* of the image: the blocks that are touched */
    uint64_t end;
    uint64_t at;            /* of those: where the next piece begins */
    struct iov_place place; /* of that, in the asker's memory */
    _Alignas(16) uint8_t frame[IO_FRAME_BYTES];
};

/* ---- places ---- */

static uint64_t asked_end(const struct patch *patch)
{
    return patch->asked->offset + patch->asked->length;
}

static bool cuts_first_block(const struct patch *patch)
{
    return patch->asked->offset > patch->first;
}

static bool cuts_last_block(const struct patch *patch)
{
    return asked_end(patch) < patch->end;
}

static uint64_t last_block(const struct patch *patch)
{
    return patch->end - patch->patches->block;
}

/* Of a write: the last block, as it was, has the rest of the buffer until its piece comes. */
static uint64_t most_in_piece(const struct patch *patch)
{
    return patch->patches->buffer_bytes - patch->patches->block;
}

/* In the buffer: in its place behind the others, if all find room. */
static uint64_t place_of_last(const struct patch *patch)
{
    return min_of(last_block(patch) - patch->first, most_in_piece(patch));
}

/* Of a zeroing: the blocks that are zero as a whole. */
static uint64_t middle_first(const struct patch *patch)
{
    return round_up(patch->asked->offset, patch->patches->block);
}

static uint64_t middle_end(const struct patch *patch)
{
    return round_down(asked_end(patch), patch->patches->block);
}

static bool is_read_whole(const struct patch *patch)
{
    const uint64_t few = READ_WHOLE_BLOCKS * (uint64_t)patch->patches->block;

    if (patch->asked->op == IO_ZERO) {
        return middle_first(patch) >= middle_end(patch);
    }
    return patch->end - patch->first <= min_of(few, most_in_piece(patch));
}

/* ---- the child ---- */

static void end_patch(struct patch *patch, int64_t result);

static void on_patch_io_done(struct io *io)
{
    struct patch *patch = containerof(io, struct patch, io);

    if (io->result < 0) {
        end_patch(patch, io->result);
    } else {
        patch->go_on(patch);
    }
}

/* `flags`: of the asker's those. */
static void ask_child(struct patch *patch, enum io_op op, uint64_t offset, uint64_t length,
                      unsigned flags, void (*go_on)(struct patch *patch))
{
    patch->go_on = go_on;
    patch->io = (struct io){
        .op = op,
        .flags = patch->asked->flags & flags,
        .iov_count = op == IO_ZERO ? 0 : 1,
        .offset = offset,
        .length = length,
        .iov = &patch->iov,
        .done = on_patch_io_done,
        .frame = patch->frame,
    };
    path_start(patch->patches->child, &patch->io);
}

static void read_blocks(struct patch *patch, uint64_t offset, uint64_t length, uint64_t to,
                        void (*go_on)(struct patch *patch))
{
    patch->iov = (struct iovec){patch->buffer + to, length};
    ask_child(patch, IO_READ, offset, length, 0, go_on);
}

static void write_blocks(struct patch *patch, uint64_t offset, uint64_t length, uint64_t from,
                         void (*go_on)(struct patch *patch))
{
    patch->iov = (struct iovec){patch->buffer + from, length};
    ask_child(patch, IO_WRITE, offset, length, IO_FUA, go_on);
}

static void end_well(struct patch *patch)
{
    end_patch(patch, 0);
}

/* ---- a read ---- */

static void read_piece(struct patch *patch);

/* What was asked for of the piece that begins at patch->at. */
static uint64_t asked_of_piece(const struct patch *patch, uint64_t length, uint64_t *from)
{
    const uint64_t offset = patch->asked->offset;

    *from = offset > patch->at ? offset - patch->at : 0;
    return min_of(asked_end(patch), patch->at + length) - patch->at - *from;
}

static void take_piece(struct patch *patch)
{
    uint64_t from;
    uint64_t bytes = asked_of_piece(patch, patch->io.length, &from);

    iov_scatter(patch->asked->iov, &patch->place, patch->buffer + from, bytes);
    patch->at += patch->io.length;
    if (patch->at < patch->end) {
        read_piece(patch);
    } else {
        end_well(patch);
    }
}

static void read_piece(struct patch *patch)
{
    uint64_t length = min_of(patch->end - patch->at, (uint64_t)patch->patches->buffer_bytes);

    read_blocks(patch, patch->at, length, 0, take_piece);
}

/* ---- a write ---- */

static void write_piece(struct patch *patch);

static void piece_written(struct patch *patch)
{
    patch->at += patch->io.length;
    if (patch->at < patch->end) {
        write_piece(patch);
    } else {
        end_well(patch);
    }
}

/* What the last block had behind what is written goes with its piece. */
static void add_rest_of_last(const struct patch *patch, uint64_t length)
{
    const uint64_t block = patch->patches->block;
    const uint64_t from = place_of_last(patch);
    const uint64_t to = length - block;
    const uint64_t skip = asked_end(patch) - last_block(patch);

    if (from != to) {
        memcpy(patch->buffer + to + skip, patch->buffer + from + skip, block - skip);
    }
}

/* The guest's memory is copied once: it may change, and the piece goes again if it comes short. */
static void write_piece(struct patch *patch)
{
    uint64_t length = min_of(patch->end - patch->at, most_in_piece(patch));
    uint64_t from;
    uint64_t bytes = asked_of_piece(patch, length, &from);

    iov_gather(patch->asked->iov, &patch->place, patch->buffer + from, bytes);
    if (patch->at + length == patch->end && cuts_last_block(patch)) {
        add_rest_of_last(patch, length);
    }
    write_blocks(patch, patch->at, length, 0, piece_written);
}

/* ---- a zeroing ---- */

static void zero_last(struct patch *patch)
{
    const uint64_t from = place_of_last(patch);

    if (!cuts_last_block(patch)) {
        end_well(patch);
        return;
    }
    memset(patch->buffer + from, 0, asked_end(patch) - last_block(patch));
    write_blocks(patch, last_block(patch), patch->patches->block, from, end_well);
}

static void zero_first(struct patch *patch)
{
    const uint64_t block = patch->patches->block;
    const uint64_t skip = patch->asked->offset - patch->first;

    if (!cuts_first_block(patch)) {
        zero_last(patch);
        return;
    }
    memset(patch->buffer + skip, 0, block - skip);
    write_blocks(patch, patch->first, block, 0, zero_last);
}

/* First what the child may not be able to do. */
static void zero_middle(struct patch *patch)
{
    const uint64_t first = middle_first(patch);

    ask_child(patch, IO_ZERO, first, middle_end(patch) - first, IO_FUA | IO_MAY_UNMAP, zero_first);
}

static void zero_in_buffer(struct patch *patch)
{
    memset(patch->buffer + (patch->asked->offset - patch->first), 0, patch->asked->length);
    write_blocks(patch, patch->first, patch->end - patch->first, 0, end_well);
}

/* ---- both: the blocks of which a part stays ---- */

static void change_blocks(struct patch *patch)
{
    if (patch->asked->op == IO_WRITE) {
        write_piece(patch);
    } else if (is_read_whole(patch)) {
        zero_in_buffer(patch);
    } else {
        zero_middle(patch);
    }
}

static void read_last(struct patch *patch)
{
    if (!cuts_last_block(patch)) {
        change_blocks(patch);
        return;
    }
    read_blocks(patch, last_block(patch), patch->patches->block, place_of_last(patch),
                change_blocks);
}

static void read_edges(struct patch *patch)
{
    if (is_read_whole(patch)) {
        read_blocks(patch, patch->first, patch->end - patch->first, 0, change_blocks);
    } else if (cuts_first_block(patch)) {
        read_blocks(patch, patch->first, patch->patches->block, 0, read_last);
    } else {
        read_last(patch);
    }
}

static void on_patch_had(struct block_lock *lock)
{
    read_edges(containerof(lock, struct patch, lock));
}

/* ---- all ---- */

static uint8_t *buffer_of(const struct patches *patches, const struct patch *patch)
{
    size_t index = (size_t)((const uint8_t *)patch - patches->slots.memory) / patches->slots.stride;

    return patches->buffers + index * patches->buffer_bytes;
}

static void begin_patch(struct patches *patches, struct io *io)
{
    struct patch *patch = slots_take(&patches->slots);

    patch->patches = patches;
    patch->asked = io;
    patch->buffer = buffer_of(patches, patch);
    patch->first = patch->at = round_down(io->offset, patches->block);
    patch->end = round_up(io->offset + io->length, patches->block);
    patch->place = (struct iov_place){0};
    if (io->op == IO_READ) {
        read_piece(patch);
        return;
    }
    patch->lock = (struct block_lock){
        .had = on_patch_had, .first = patch->first, .end = patch->end, .is_alone = true};
    if (block_lock_take(patches->lane, &patch->lock)) {
        read_edges(patch);
    }
}

static void end_patch(struct patch *patch, int64_t result)
{
    struct patches *patches = patch->patches;
    struct io *asked = patch->asked;

    if (asked->op != IO_READ) {
        block_lock_end(&patch->lock);
    }
    slots_give(&patches->slots, patch);
    if (patches->waiting.first) {
        begin_patch(patches, io_list_take(&patches->waiting));
    }
    io_end(asked, result);
}

void patches_start(struct patches *patches, struct io *io)
{
    if (slots_has_free(&patches->slots) && !patches->waiting.first) {
        begin_patch(patches, io);
    } else {
        io_list_append(&patches->waiting, io);
    }
}

int patches_init(struct patches *patches, struct path *child, struct block_lane *lane,
                 uint32_t block)
{
    const uint32_t bytes = 2 * block > PATCH_BUFFER_BYTES ? 2 * block : PATCH_BUFFER_BYTES;
    int ret = slots_init(&patches->slots, sizeof(struct patch), PATCHES);
    void *buffers;

    if (ret < 0) {
        return ret;
    }
    buffers = mmap(NULL, (size_t)PATCHES * bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (buffers == MAP_FAILED) {
        slots_fini(&patches->slots);
        return -ENOMEM;
    }
    patches->child = child;
    patches->lane = lane;
    patches->buffers = buffers;
    patches->buffer_bytes = bytes;
    patches->block = block;
    io_list_init(&patches->waiting);
    return 0;
}

void patches_fini(struct patches *patches)
{
    munmap(patches->buffers, (size_t)PATCHES * patches->buffer_bytes);
    slots_fini(&patches->slots);
}
