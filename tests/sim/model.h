/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What each block may read as, given what was acknowledged and what is under way.  A value is the
 * number of the write that made it; 0: zeroes.
 */

#include "core/base/base.h"
#include "tests/sim/image.h"

#define MODEL_VALUES 512u

struct model_seen {
    unsigned count;
    uint64_t value[MODEL_VALUES];
};

enum model_kind { MODEL_READ, MODEL_WRITE, MODEL_ZERO, MODEL_DISCARD, MODEL_FLUSH, MODEL_ID };

/* A request of the guest, from when it is offered. */
struct model_request {
    enum model_kind kind;
    unsigned first; /* sector */
    unsigned count;
    uint64_t value;
    uint64_t offered; /* when, as the model counts */
    bool is_pending;
    bool may_fail;                         /* the image was told to fail it */
    struct model_seen seen[IMAGE_SECTORS]; /* of reads and flushes: what each sector may be */
};

void model_reset(void);

/* All requests that there are. */
void model_know(struct model_request *request);

void model_offered(struct model_request *request);

/* `data` is what a read has got. */
void model_answered(struct model_request *request, bool is_ok, const uint8_t *data);

/* Nobody waits for it any more: it may have been done. */
void model_dropped(struct model_request *request);

/* Nothing is under way: does the image have what it must? */
void model_check_all(void);

/* A sector as a write makes it. */
void model_fill(uint8_t *at, uint64_t value, unsigned sector);
