/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/huge_bounce.h"

#include "core/block/file_io.h"

int huge_bounce_init(struct huge_bounce *huge, struct context *context)
{
    *huge = (struct huge_bounce){.context = context};
    io_list_init(&huge->waiting);
    huge_learn_init(&huge->learn, now_ns());
    return huge_pool_init(&huge->pool);
}

void huge_bounce_fini(struct huge_bounce *huge)
{
    huge_pool_fini(&huge->pool);
}

static enum huge_kind huge_kind_of(const struct io *io)
{
    return io->op == IO_READ ? HUGE_READ : HUGE_WRITE;
}

static bool is_huge_on(const struct huge_bounce *huge, enum huge_kind kind)
{
    enum huge_use use = huge->context->huge_use;

    return use == HUGE_AUTO ? huge_learn_is_on(&huge->learn, kind) : use == HUGE_ON;
}

/* All of it, and for the first time: rests and what failed in a group go as they are. */
static bool may_be_huge(const struct io *io, const struct engine_op *op)
{
    const struct file_io *fio = file_io_of(io);

    return fio->group_bytes <= HUGE_SLOTS * HUGE_SLOT_BYTES && io->op != IO_FLUSH && !fio->buffer &&
           !fio->is_alone && fio->done == 0 && (fio->group > 1 || op->iov_count == io->iov_count);
}

/* Between the operation's own memory and the slots, `bytes` of it. */
static void copy_group(struct io *io, uint8_t *slots, uint64_t bytes)
{
    for (unsigned left = file_io_of(io)->group; left > 0 && bytes > 0; left--) {
        struct iov_place place = {0};
        uint64_t part = min_of(io->length, bytes);

        if (io->op == IO_WRITE) {
            iov_gather(io->iov, &place, slots, part);
        } else {
            iov_scatter(io->iov, &place, slots, part);
        }
        slots += part;
        bytes -= part;
        io = io->next;
    }
}

/* Once a batch.  Nothing is learned while it is said how it has to be: both ways would be one. */
static void look_at_load(struct huge_bounce *huge)
{
    if (huge->look_ns != 0) {
        return;
    }
    huge->look_ns = now_ns();
    huge_learn_look(&huge->learn, &huge->context->turn, huge->look_ns);
}

/* It goes there; `slots` are for all of it. */
static void move_to_slots(struct huge_bounce *huge, struct io *io, struct engine_op *op,
                          uint8_t *slots)
{
    struct file_io *fio = file_io_of(io);

    huge->holds_memory = huge->has_used_it = true;
    if (io->op == IO_WRITE) {
        copy_group(io, slots, fio->group_bytes);
    }
    fio->is_large = fio->is_huge = true;
    fio->piece = (struct iovec){.iov_base = slots, .iov_len = fio->group_bytes};
    op->iov = &fio->piece;
    op->iov_count = 1;
}

bool huge_bounce_prepare_large(struct huge_bounce *huge, struct io *io, struct engine_op *op)
{
    struct file_io *fio = file_io_of(io);
    uint8_t *slots;

    if (!may_be_huge(io, op)) {
        return true;
    }
    if (huge->context->huge_use == HUGE_AUTO) {
        look_at_load(huge);
        fio->is_large = fio->is_learned = true;
    }
    if (!is_huge_on(huge, huge_kind_of(io))) {
        return true;
    }
    slots = huge->waiting.first ? NULL : huge_pool_get(&huge->pool, fio->group_bytes);
    if (slots) {
        move_to_slots(huge, io, op, slots);
    }
    return slots;
}

void huge_bounce_wait(struct huge_bounce *huge, struct io_list *pending, struct io **at)
{
    struct io *io = *at;

    for (unsigned left = file_io_of(io)->group; left > 0; left--) {
        struct io *next = io->next;

        io_list_append(&huge->waiting, io);
        io = next;
    }
    *at = io;
    if (!io) {
        pending->last = at;
    }
}

void huge_bounce_release(struct huge_bounce *huge, struct io_list *pending)
{
    *huge->waiting.last = pending->first;
    if (!pending->first) {
        pending->last = huge->waiting.last;
    }
    pending->first = huge->waiting.first;
    io_list_init(&huge->waiting);
    huge->has_freed = false;
}

static void put_slots(struct huge_bounce *huge, struct file_io *fio)
{
    fio->is_huge = false;
    huge->has_freed = true;
    huge_pool_put(&huge->pool, fio->piece.iov_base, fio->piece.iov_len);
}

void huge_bounce_undo(struct huge_bounce *huge, struct io *io)
{
    if (file_io_of(io)->is_huge) {
        put_slots(huge, file_io_of(io));
    }
}

void huge_bounce_begin_large(struct huge_bounce *huge, struct io *io)
{
    struct file_io *fio = file_io_of(io);

    fio->reaps = huge->reaps;
    if (fio->is_learned) {
        huge_learn_begin(&huge->learn, huge_kind_of(io), huge->look_ns);
    }
}

void huge_bounce_end_large(struct huge_bounce *huge, struct io *io, int64_t result)
{
    struct file_io *fio = file_io_of(io);
    uint64_t bytes = result > 0 ? min_of((uint64_t)result, (uint64_t)fio->group_bytes) : 0;

    fio->is_large = false;
    if (fio->is_huge) {
        if (io->op == IO_READ) {
            copy_group(io, fio->piece.iov_base, bytes);
        }
        put_slots(huge, fio);
    }
    if (fio->is_learned && huge_learn_end(&huge->learn, bytes, fio->reaps == huge->reaps)) {
        huge_learn_idle(&huge->learn, now_ns());
    }
}

void huge_bounce_rest(struct huge_bounce *huge)
{
    if (!huge->has_used_it && huge_pool_is_unused(&huge->pool)) {
        huge_pool_give_back(&huge->pool);
        huge->holds_memory = false;
    }
    huge->has_used_it = false;
}
