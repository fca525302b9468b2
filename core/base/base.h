/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Small helpers that every other file needs: sizes, rounding, ranges, time and
 * the loads and stores for words which another party may change at any moment.
 * Thread: any.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* VIRTIO 1.2, 5.2.4 "Device configuration layout": a sector is 512 bytes, whatever the block. */
#define SECTOR_SIZE 512u

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define NS_PER_US 1000ull

/* In a set of 64. */
#define BIT(n) (1ull << (n))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define PRINTF_LIKE(fmt_arg, first_arg) __attribute__((format(printf, fmt_arg, first_arg)))

#define containerof(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Bytes that one processor cannot write without taking them from the others. */
#define CACHE_LINE 64u

#define min_of(a, b)            \
    ({                          \
        __typeof__(a) a_ = (a); \
        __typeof__(b) b_ = (b); \
        a_ < b_ ? a_ : b_;      \
    })

static inline bool is_power_of_2(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* `align` is a power of two. */
static inline uint64_t round_down(uint64_t value, uint64_t align)
{
    return value & ~(align - 1);
}

/* `align` is a power of two; the caller knows that `value` + `align` does not wrap. */
static inline uint64_t round_up(uint64_t value, uint64_t align)
{
    return round_down(value + align - 1, align);
}

static inline bool is_aligned(uint64_t value, uint64_t align)
{
    return (value & (align - 1)) == 0;
}

/* Is [first, first + count) inside [0, capacity)?  Written so that nothing can wrap. */
static inline bool range_ok(uint64_t first, uint64_t count, uint64_t capacity)
{
    return count <= capacity && first <= capacity - count;
}

/* Monotonic time in nanoseconds. */
static inline uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/*
 * Words in guest memory: read once, by size, into a local.  The compiler may neither
 * split nor repeat the access.  Rings and headers are little-endian (VIRTIO 1.2, 1.4
 * "Structure Specifications"); so is every host that configure lets us build on.
 */
static inline uint16_t load16(const void *p)
{
    return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
}

static inline uint16_t load16_acquire(const void *p)
{
    return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
}

static inline void store16(void *p, uint16_t value)
{
    __atomic_store_n((uint16_t *)p, value, __ATOMIC_RELAXED);
}

static inline void store16_release(void *p, uint16_t value)
{
    __atomic_store_n((uint16_t *)p, value, __ATOMIC_RELEASE);
}

static inline uint32_t load32(const void *p)
{
    return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
}

static inline void store32(void *p, uint32_t value)
{
    __atomic_store_n((uint32_t *)p, value, __ATOMIC_RELAXED);
}

/*
 * Copy what another party may be changing: afterwards only the copy is looked at.  Without
 * the barrier the compiler may read `from` again, as it knows of no other writer.
 */
static inline void copy_once(void *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    __asm__ __volatile__("" : : "r"(to) : "memory");
}
