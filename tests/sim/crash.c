/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/crash.h"

#include <assert.h>

#include "core/virtio/inflight.h"
#include "tests/sim/guest.h"
#include "tests/sim/kernel.h"
#include "tests/sim/sim.h"

#define STORES_KEPT 64u

jmp_buf crash_out;

struct store {
    volatile void *at;
    uint64_t value;
    size_t bytes;
};

static bool is_watching;
static unsigned left; /* stores until it dies, 0: it does not */
static struct store kept[STORES_KEPT];
static unsigned kept_count;

void sim_load(void);
bool sim_store(volatile void *at, const void *value, size_t bytes);
void *sim_memset(void *at, int c, size_t bytes);

void crash_reset(void)
{
    is_watching = false;
    left = 0;
    kept_count = 0;
}

void crash_after(unsigned stores)
{
    left = stores;
}

bool crash_is_due(void)
{
    return left > 0;
}

void crash_watch(bool on)
{
    is_watching = on;
}

static void die_or_go_on(void)
{
    if (left > 0 && --left == 0) {
        kept_count = 0;
        longjmp(crash_out, 1);
    }
}

/* ---- what a store is to ---- */

static enum store_class class_of_split(uint64_t into, size_t bytes)
{
    unsigned size = sim.config.size;
    uint64_t used = round_up(16u * size + 2u * (3u + size), 4);

    if (into < used || into >= used + 4 + 8u * size) {
        return WISH; /* the event index, behind the elements */
    }
    return into == used ? WISH : into == used + 2 ? USED_IDX : USED_ELEM;
}

static enum store_class class_of_packed(uint64_t into)
{
    if (into >= 16u * sim.config.size) {
        return WISH;
    }
    return into % 16 == 14 ? PACKED_FLAGS : PACKED_ID;
}

static enum store_class class_of_mark(const void *value)
{
    return *(const uint8_t *)value ? LOG_MARK : LOG_CLEAR;
}

static enum store_class class_of_split_log(uint64_t into, const void *value)
{
    if (into < sizeof(struct inflight_split)) {
        return into == offsetof(struct inflight_split, last_batch_head) ? LOG_HEAD
               : into == offsetof(struct inflight_split, used_idx)      ? LOG_USED
                                                                        : LOG_OTHER;
    }
    switch (into % sizeof(struct inflight_split_desc)) {
    case offsetof(struct inflight_split_desc, is_inflight):
        return class_of_mark(value);
    case offsetof(struct inflight_split_desc, next):
        return LOG_NEXT;
    default:
        return LOG_COUNTER;
    }
}

static enum store_class class_of_packed_log(uint64_t into, const void *value)
{
    if (into < sizeof(struct inflight_packed)) {
        return into == offsetof(struct inflight_packed, free)   ? LOG_FREE
               : into == offsetof(struct inflight_packed, used) ? LOG_USED
                                                                : LOG_OTHER;
    }
    switch (into % sizeof(struct inflight_packed_desc)) {
    case offsetof(struct inflight_packed_desc, is_inflight):
        return class_of_mark(value);
    case offsetof(struct inflight_packed_desc, next):
        return LOG_NEXT;
    case offsetof(struct inflight_packed_desc, counter):
        return LOG_COUNTER;
    default:
        return LOG_OTHER;
    }
}

static enum store_class class_of(int fd, uint64_t offset, const void *value, size_t bytes)
{
    if (fd == guest_fd) {
        offset %= GUEST_QUEUE_BYTES;
        return sim.config.is_packed ? class_of_packed(offset) : class_of_split(offset, bytes);
    }
    offset %= LOG_QUEUE_BYTES;
    return sim.config.is_packed ? class_of_packed_log(offset, value)
                                : class_of_split_log(offset, value);
}

static const char *const class_names[CLASSES] = {
    "nothing",   "used element", "used index", "wish",         "id or length",
    "flags",     "log: mark",    "log: clear", "log: counter", "log: next",
    "log: head", "log: used",    "log: free",  "log: other",
};

/* ---- stores that change places ---- */

static void store_now(const struct store *store)
{
    switch (store->bytes) {
    case 1:
        *(volatile uint8_t *)store->at = (uint8_t)store->value;
        break;
    case 2:
        *(volatile uint16_t *)store->at = (uint16_t)store->value;
        break;
    case 4:
        *(volatile uint32_t *)store->at = (uint32_t)store->value;
        break;
    default:
        *(volatile uint64_t *)store->at = store->value;
    }
}

void crash_settle(void)
{
    for (unsigned i = 0; i < kept_count; i++) {
        sim_meanwhile();
        die_or_go_on();
        store_now(&kept[i]);
    }
    kept_count = 0;
}

/* At the place that we know of: the process may have unmapped its own by then. */
static struct store store_of(int fd, uint64_t offset, const void *value, size_t bytes)
{
    struct store store = {.at = (fd == guest_fd ? guest_memory : guest_log) + offset,
                          .bytes = bytes};

    memcpy(&store.value, value, bytes);
    return store;
}

/* Returns false: it was put off, or done here with those that were. */
static bool is_in_its_place(const struct store *store, enum store_class class)
{
    if (class == sim.spoil->hold && kept_count < STORES_KEPT) {
        kept[kept_count++] = *store;
        return false;
    }
    if (class != sim.spoil->until || kept_count == 0) {
        return true;
    }
    store_now(store);
    crash_settle();
    return false;
}

void sim_load(void)
{
    if (is_watching) {
        sim_meanwhile();
    }
}

bool sim_store(volatile void *at, const void *value, size_t bytes)
{
    uint64_t offset;
    enum store_class class;
    struct store store;
    int fd;

    if (!is_watching) {
        return true;
    }
    fd = kernel_file_of(at, &offset);
    if (fd != guest_fd && fd != guest_log_fd) {
        return true;
    }
    class = class_of(fd, offset, value, bytes);
    sim_trace("  store: %s, %u bytes at %llu", class_names[class], (unsigned)bytes,
              (unsigned long long)offset);
    sim_meanwhile();
    die_or_go_on();
    store = store_of(fd, offset, value, bytes);
    return !sim.spoil || is_in_its_place(&store, class);
}

/* A part of it may have been done. */
void *sim_memset(void *at, int c, size_t bytes)
{
    uint64_t offset;
    int fd = is_watching ? kernel_file_of(at, &offset) : -1;

    if (is_watching && (fd == guest_fd || fd == guest_log_fd)) {
        if (left == 1) {
            memset(at, c, sim_draw((unsigned)bytes + 1));
        }
        die_or_go_on();
    }
    return memset(at, c, bytes);
}
