/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_refusal.h"

#include <inttypes.h>
#include <stdio.h>

#define WHAT_BYTES 256

static const char *verb_of(const struct request *request)
{
    switch (request->type) {
    case VIRTIO_BLK_T_IN:
        return "a read";
    case VIRTIO_BLK_T_DISCARD:
        return "a discard";
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return "a zeroing";
    default:
        return "a write";
    }
}

/*
 * A read or write that is a barrier goes by its number as well; "": none that is known.
 * Source: VIRTIO 1.2, 5.2.6 "Device Operation"; 1.3, 5.2.6 (those of zones).
 */
static const char *name_of_type(uint32_t type)
{
    static const struct {
        uint32_t type;
        const char *name;
    } names[] = {
        {2, " (SCSI command)"},
        {3, " (SCSI command)"},
        {10, " (GET_LIFETIME)"},
        {VIRTIO_BLK_T_DISCARD, " (DISCARD)"},
        {VIRTIO_BLK_T_WRITE_ZEROES, " (WRITE_ZEROES)"},
        {14, " (SECURE_ERASE)"},
        {15, " (ZONE_APPEND)"},
        {16, " (ZONE_REPORT)"},
        {18, " (ZONE_OPEN)"},
        {20, " (ZONE_CLOSE)"},
        {22, " (ZONE_FINISH)"},
        {24, " (ZONE_RESET)"},
        {26, " (ZONE_RESET_ALL)"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].type == type) {
            return names[i].name;
        }
    }
    return type & VIRTIO_BLK_T_BARRIER ? " (a legacy barrier)" : "";
}

/* What is wrong with its place or length. */
static void say_data(char *what, const struct request *request, const struct blk_opts *opts)
{
    const struct io *io = &request->io;
    int used = snprintf(what, WHAT_BYTES, "%s of %" PRIu64 " bytes at sector %" PRIu64,
                        verb_of(request), io->length, io->offset);

    what += used; /* numbers: it fits */
    switch (request->refusal) {
    case REFUSAL_RANGE:
        (void)snprintf(what, WHAT_BYTES - (size_t)used, " lies past the end (capacity %" PRIu64 ")",
                       opts->capacity / SECTOR_SIZE);
        break;
    case REFUSAL_ALIGN:
        (void)snprintf(what, WHAT_BYTES - (size_t)used, " is not in whole blocks of %u bytes",
                       opts->logical_block);
        break;
    case REFUSAL_LENGTH:
    default:
        (void)snprintf(what, WHAT_BYTES - (size_t)used, " is longer than %u bytes", BLK_MAX_BYTES);
    }
}

static void say_refusal(char *what, const struct request *request, const struct blk_opts *opts)
{
    switch (request->refusal) {
    case REFUSAL_CHAIN:
        (void)snprintf(what, WHAT_BYTES, "a request whose chain is faulty (%s)",
                       request->chain.fault);
        break;
    case REFUSAL_HEADER:
        (void)snprintf(what, WHAT_BYTES, "a request has no whole header");
        break;
    case REFUSAL_DIRECTION:
        (void)snprintf(what, WHAT_BYTES, "%s has a buffer that goes the other way",
                       verb_of(request));
        break;
    case REFUSAL_READONLY:
        (void)snprintf(what, WHAT_BYTES, "a write to a disk that is read-only");
        break;
    case REFUSAL_ID:
        (void)snprintf(what, WHAT_BYTES, "a request for the serial number has no room for it");
        break;
    case REFUSAL_TYPE:
        (void)snprintf(what, WHAT_BYTES, "a request of type %u%s, which the disk does not have",
                       request->type, name_of_type(request->type));
        break;
    case REFUSAL_RANGES:
        (void)snprintf(what, WHAT_BYTES, "%s has no segments that are whole, or more than %u",
                       verb_of(request), BLK_RANGES_MAX);
        break;
    case REFUSAL_FLAGS:
        (void)snprintf(what, WHAT_BYTES, "%s has a segment with flags that it does not have",
                       verb_of(request));
        break;
    default:
        say_data(what, request, opts);
    }
}

/* A line that the limit leaves out was not told: the next one like it tries again. */
void lane_tell_refusal(struct queue *q, const struct request *request)
{
    struct log_limit *limit = &q->lane->refusal_log;
    unsigned left_out = limit->suppressed;
    char what[WHAT_BYTES];

    if (q->refusals_told >> request->refusal & 1) {
        return;
    }
    say_refusal(what, request, &q->view->blk.opts);
    log_limited(limit, LOG_LEVEL_WARN,
                "%s: ring %u: %s: the guest gets an I/O error; later ones like it are only counted",
                q->view->name, q->index, what);
    if (limit->suppressed <= left_out) {
        q->refusals_told |= (uint16_t)(1u << request->refusal);
    }
}
