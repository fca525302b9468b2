/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/flush_check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTORS (FLUSH_CHECK_BYTES / SECTOR_SIZE)
#define OPEN_MAX 2048u

/* Something that has begun; places are numbers of records, from 1 on. */
struct open_op {
    struct io_record record;
    uint64_t at;
    bool is_used;
};

/* 0: there was none. */
struct sector {
    uint64_t done_at;     /* the end of the last operation of the image that has written it */
    bool is_done_stable;  /* that was stable by itself */
    uint64_t answered_at; /* the last write of the guest that was answered */
    uint64_t volatile_at; /* and what has to be flushed of it */
};

struct state {
    struct flush_check *check;
    uint64_t at;
    uint64_t stable_at; /* what ended before this is stable */
    struct sector sector[SECTORS];
    struct open_op image[OPEN_MAX];
    struct open_op guest[OPEN_MAX];
};

static void PRINTF_LIKE(2, 3) fail(struct state *state, const char *fmt, ...)
{
    va_list args;

    if (state->check->fault[0] == '\0') {
        va_start(args, fmt);
        (void)vsnprintf(state->check->fault, sizeof(state->check->fault), fmt, args);
        va_end(args);
    }
}

static void open_one(struct state *state, struct open_op *ops, const struct io_record *record)
{
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (!ops[i].is_used) {
            ops[i] = (struct open_op){.record = *record, .at = state->at, .is_used = true};
            return;
        }
    }
    fail(state, "more than %u are under way", OPEN_MAX);
}

static struct open_op *find_open(struct open_op *ops, uint64_t id)
{
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        if (ops[i].is_used && ops[i].record.id == id) {
            return &ops[i];
        }
    }
    return NULL;
}

static unsigned first_of(const struct io_record *record)
{
    return (unsigned)(record->offset / SECTOR_SIZE);
}

static unsigned end_of(const struct io_record *record)
{
    return (unsigned)min_of((record->offset + record->length) / SECTOR_SIZE, (uint64_t)SECTORS);
}

/* ---- the image's side ---- */

static unsigned count_writes_in(const struct state *state, const struct io_record *image)
{
    unsigned count = 0;

    for (unsigned i = 0; i < OPEN_MAX; i++) {
        const struct io_record *guest = &state->guest[i].record;

        count += state->guest[i].is_used && guest->op == IO_WRITE &&
                 guest->offset >= image->offset &&
                 guest->offset + guest->length <= image->offset + image->length;
    }
    return count;
}

static void end_image_write(struct state *state, struct io_record *record, int64_t result)
{
    state->check->image_writes++;
    state->check->merged += count_writes_in(state, record) > 1;
    record->length = result > 0 ? (uint64_t)result : 0; /* what was cut short goes again */
    for (unsigned i = first_of(record); i < end_of(record); i++) {
        state->sector[i].done_at = state->at;
        state->sector[i].is_done_stable = record->flags & IO_FUA;
    }
}

static void end_image_op(struct state *state, const struct io_record *end)
{
    struct open_op *op = find_open(state->image, end->id);

    if (!op) {
        fail(state, "record %" PRIu64 ": an end of nothing", state->at);
        return;
    }
    op->is_used = false;
    if (op->record.op == IO_FLUSH && end->result >= 0) {
        state->check->image_flushes++;
        state->stable_at = op->at > state->stable_at ? op->at : state->stable_at;
    } else if (op->record.op == IO_WRITE || op->record.op == IO_ZERO) {
        end_image_write(state, &op->record, end->result);
    }
}

/* ---- the guest's ---- */

static bool is_stable(const struct state *state, uint64_t volatile_at)
{
    return volatile_at == 0 || volatile_at < state->stable_at;
}

static void check_write(struct state *state, const struct open_op *op, unsigned index)
{
    struct sector *sector = &state->sector[index];

    if (sector->done_at <= op->at) {
        fail(state, "sector %u: record %" PRIu64 " answers a write that the image has not done",
             index, state->at);
    }
    sector->answered_at = state->at;
    sector->volatile_at = sector->is_done_stable ? 0 : sector->done_at;
    if ((op->record.flags & IO_FUA) && !is_stable(state, sector->volatile_at)) {
        fail(state, "sector %u: record %" PRIu64 " answers a write that is not stable", index,
             state->at);
    }
}

static void check_flush(struct state *state, const struct open_op *op)
{
    state->check->flushes++;
    for (unsigned i = 0; i < SECTORS; i++) {
        const struct sector *sector = &state->sector[i];

        if (sector->answered_at && sector->answered_at < op->at &&
            !is_stable(state, sector->volatile_at)) {
            fail(state,
                 "sector %u: record %" PRIu64 " answers the flush of record %" PRIu64
                 ", and what was answered by record %" PRIu64 " and done by record %" PRIu64
                 " is not stable",
                 i, state->at, op->at, sector->answered_at, sector->volatile_at);
        }
    }
}

/* What failed or is to be forgotten has no promise. */
static void forget_sectors(struct state *state, const struct io_record *record)
{
    for (unsigned i = first_of(record); i < end_of(record); i++) {
        state->sector[i].answered_at = 0;
    }
}

static void check_answer(struct state *state, const struct io_record *answer)
{
    struct open_op *op = find_open(state->guest, answer->id);

    if (!op) {
        fail(state, "record %" PRIu64 ": an answer to nothing", state->at);
        return;
    }
    op->is_used = false;
    if (op->record.op == IO_FLUSH) {
        if (answer->result == 0) {
            check_flush(state, op);
        }
    } else if (answer->result < 0) {
        forget_sectors(state, &op->record);
    } else if (op->record.op == IO_WRITE || op->record.op == IO_ZERO) {
        state->check->writes++;
        for (unsigned i = first_of(&op->record); i < end_of(&op->record); i++) {
            check_write(state, op, i);
        }
    }
}

static void ask(struct state *state, const struct io_record *record)
{
    if (record->op == IO_DISCARD) {
        forget_sectors(state, record);
    }
    for (unsigned i = 0; record->op == IO_FLUSH && i < OPEN_MAX; i++) {
        if (state->guest[i].is_used && state->guest[i].record.op == IO_WRITE) {
            state->check->overtook++;
            break;
        }
    }
    open_one(state, state->guest, record);
}

/* ---- the log ---- */

static void take_record(struct state *state, const struct io_record *record)
{
    state->at++;
    switch (record->kind) {
    case IO_RECORD_BEGIN:
        open_one(state, state->image, record);
        break;
    case IO_RECORD_END:
        end_image_op(state, record);
        break;
    case IO_RECORD_ASKED:
        ask(state, record);
        break;
    case IO_RECORD_ANSWERED:
        check_answer(state, record);
        break;
    default:
        break;
    }
}

static void take_log(struct state *state, const uint8_t *log, size_t bytes)
{
    size_t at = 0;

    while (at < bytes) {
        struct io_record record;

        if (bytes - at < sizeof(record)) {
            fail(state, "the log ends within a record");
            return;
        }
        memcpy(&record, log + at, sizeof(record));
        if (record.magic != IO_RECORD_MAGIC || record.data_bytes > bytes - at - sizeof(record)) {
            fail(state, "there is no record at %zu", at);
            return;
        }
        take_record(state, &record);
        at += sizeof(record) + record.data_bytes;
    }
}

bool flush_check_run(struct flush_check *check, const char *path)
{
    struct state *state = calloc(1, sizeof(*state));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *log;

    if (!state || fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0) {
        abort();
    }
    log = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (log == MAP_FAILED) {
        abort();
    }
    *check = (struct flush_check){0};
    state->check = check;
    take_log(state, log, (size_t)st.st_size);
    munmap(log, (size_t)st.st_size);
    close(fd);
    free(state);
    return check->fault[0] == '\0';
}
