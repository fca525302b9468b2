/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/model.h"

#include "tests/sim/sim.h"

#define REQUESTS 64u

/* A value that a sector may have, and when it was known to: what is later than that replaces it. */
struct candidate {
    uint64_t value;
    uint64_t until;
};

static struct {
    unsigned count;
    struct candidate may_be[MODEL_VALUES];
} blocks[IMAGE_SECTORS];

static struct model_request *requests[REQUESTS];
static unsigned request_count;
static uint64_t clock_of_model;

void model_reset(void)
{
    request_count = 0;
    clock_of_model = 0;
    for (unsigned i = 0; i < IMAGE_SECTORS; i++) {
        blocks[i].count = 1;
        blocks[i].may_be[0] = (struct candidate){0};
    }
}

void model_know(struct model_request *request)
{
    requests[request_count++] = request;
}

/* ---- the bytes of a sector ---- */

static uint64_t word_of(uint64_t value, unsigned sector, unsigned at)
{
    return value == 0 ? 0 : (value + at) * 0x9e3779b97f4a7c15ull ^ sector;
}

void model_fill(uint8_t *at, uint64_t value, unsigned sector)
{
    for (unsigned i = 0; i < SECTOR_SIZE; i += 8) {
        uint64_t word = i == 0 ? value : word_of(value, sector, i);

        memcpy(at + i, &word, 8);
    }
}

/* Whose write it is; torn ones are nobody's. */
static uint64_t value_at(const uint8_t *at, unsigned sector)
{
    uint8_t expected[SECTOR_SIZE];
    uint64_t value;

    memcpy(&value, at, 8);
    model_fill(expected, value, sector);
    if (memcmp(at, expected, SECTOR_SIZE) != 0) {
        sim_fail("sector %u is torn, or another sector's", sector);
    }
    return value;
}

/* ---- what may be ---- */

static bool covers(const struct model_request *request, unsigned sector)
{
    return request->kind == MODEL_FLUSH ||
           (sector >= request->first && sector - request->first < request->count);
}

static bool is_change(const struct model_request *request)
{
    return request->kind == MODEL_WRITE || request->kind == MODEL_ZERO ||
           request->kind == MODEL_DISCARD;
}

static bool is_look(const struct model_request *request)
{
    return request->kind == MODEL_READ || request->kind == MODEL_FLUSH;
}

static void may_see(struct model_seen *seen, uint64_t value)
{
    for (unsigned i = 0; i < seen->count; i++) {
        if (seen->value[i] == value) {
            return;
        }
    }
    if (seen->count == MODEL_VALUES) {
        sim_fail("the model is too small");
    }
    seen->value[seen->count++] = value;
}

static void may_be(unsigned sector, uint64_t value, uint64_t until)
{
    unsigned count = blocks[sector].count;

    for (unsigned i = 0; i < count; i++) {
        struct candidate *candidate = &blocks[sector].may_be[i];

        if (candidate->value == value) {
            candidate->until = until;
            return;
        }
    }
    if (count == MODEL_VALUES) {
        sim_fail("the model is too small");
    }
    blocks[sector].may_be[blocks[sector].count++] =
        (struct candidate){.value = value, .until = until};
}

/* What was known before the write was offered is no more. */
static void forget_before(unsigned sector, uint64_t offered)
{
    unsigned left = 0;

    for (unsigned i = 0; i < blocks[sector].count; i++) {
        if (blocks[sector].may_be[i].until >= offered) {
            blocks[sector].may_be[left++] = blocks[sector].may_be[i];
        }
    }
    blocks[sector].count = left;
}

/* A look that begins: what is, and what may come of that which is under way. */
static void begin_look(struct model_request *look)
{
    for (unsigned sector = 0; sector < IMAGE_SECTORS; sector++) {
        struct model_seen *seen = &look->seen[sector];

        seen->count = 0;
        for (unsigned i = 0; covers(look, sector) && i < blocks[sector].count; i++) {
            may_see(seen, blocks[sector].may_be[i].value);
        }
        for (unsigned i = 0; covers(look, sector) && i < request_count; i++) {
            if (requests[i]->is_pending && is_change(requests[i]) && covers(requests[i], sector)) {
                may_see(seen, requests[i]->value);
            }
        }
    }
}

/* Looks that are under way may see it. */
static void begin_change(const struct model_request *change)
{
    for (unsigned i = 0; i < request_count; i++) {
        struct model_request *look = requests[i];

        for (unsigned sector = change->first;
             look->is_pending && is_look(look) && sector < change->first + change->count;
             sector++) {
            if (covers(look, sector)) {
                may_see(&look->seen[sector], change->value);
            }
        }
    }
}

void model_offered(struct model_request *request)
{
    request->offered = ++clock_of_model;
    request->may_fail = false;
    if (is_look(request)) {
        begin_look(request);
    } else if (is_change(request)) {
        begin_change(request);
    }
    request->is_pending = true;
}

static void check_seen(const struct model_request *look, unsigned sector, const uint8_t *at)
{
    const struct model_seen *seen = &look->seen[sector];
    uint64_t value = value_at(at, sector);
    unsigned i = 0;

    while (i < seen->count && seen->value[i] != value) {
        i++;
    }
    if (i == seen->count) {
        sim_fail("%s: sector %u is of write %llu, which it cannot be",
                 look->kind == MODEL_READ ? "a read" : "stable storage after a flush", sector,
                 (unsigned long long)value);
    }
}

static void end_look(const struct model_request *look, const uint8_t *data)
{
    for (unsigned sector = 0; sector < IMAGE_SECTORS; sector++) {
        if (covers(look, sector)) {
            check_seen(look, sector,
                       look->kind == MODEL_READ ? data + (sector - look->first) * SECTOR_SIZE
                                                : image_stable_sector(sector));
        }
    }
}

static void end_change(const struct model_request *change, bool is_done)
{
    uint64_t now = ++clock_of_model;

    for (unsigned sector = change->first; sector < change->first + change->count; sector++) {
        if (is_done && change->kind != MODEL_DISCARD) {
            forget_before(sector, change->offered);
        }
        may_be(sector, change->value, now);
    }
}

void model_answered(struct model_request *request, bool is_ok, const uint8_t *data)
{
    request->is_pending = false;
    if (!is_ok && !request->may_fail) {
        sim_fail("a request failed that the image did");
    }
    if (is_change(request)) {
        end_change(request, is_ok);
    } else if (is_ok && is_look(request)) {
        end_look(request, data);
    }
}

void model_dropped(struct model_request *request)
{
    request->is_pending = false;
    if (is_change(request)) {
        end_change(request, false);
    }
}

void model_check_all(void)
{
    static struct model_request look;

    look.kind = MODEL_READ;
    look.first = 0;
    look.count = IMAGE_SECTORS;
    begin_look(&look);
    for (unsigned sector = 0; sector < IMAGE_SECTORS; sector++) {
        check_seen(&look, sector, image_sector(sector));
    }
}
