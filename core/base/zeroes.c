/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/zeroes.h"

_Alignas(4096) uint8_t zeroes_bytes[ZEROES_BYTES];

/* A register's worth on every host. */
typedef uint64_t lump __attribute__((vector_size(16)));

#define STEP_BYTES 256u

static lump load_lump(const uint8_t *at)
{
    lump value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* What is known of it afterwards is not read from memory again. */
static bool is_zero_word(uint64_t word)
{
    __asm__ __volatile__("" : "+r"(word));
    return word == 0;
}

/* Of STEP_BYTES: no branch until all of them have been read, into four registers that do not wait
 * for each other. */
static bool is_zero_step(const uint8_t *at)
{
    lump a = {0}, b = {0}, c = {0}, d = {0};

    for (unsigned i = 0; i < STEP_BYTES; i += 4 * sizeof(lump)) {
        a |= load_lump(at + i);
        b |= load_lump(at + i + sizeof(lump));
        c |= load_lump(at + i + 2 * sizeof(lump));
        d |= load_lump(at + i + 3 * sizeof(lump));
    }
    a |= b | c | d;
    return is_zero_word(a[0] | a[1]);
}

/* Of fewer than STEP_BYTES. */
static bool is_zero_rest(const uint8_t *at, size_t len)
{
    uint64_t all = 0;

    for (; len >= sizeof(uint64_t); len -= sizeof(uint64_t), at += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, at, sizeof(word));
        all |= word;
    }
    for (; len > 0; len--) {
        all |= *at++;
    }
    return is_zero_word(all);
}

static bool is_zero_piece(const uint8_t *at, size_t len)
{
    for (; len >= STEP_BYTES; len -= STEP_BYTES, at += STEP_BYTES) {
        if (!is_zero_step(at)) {
            return false;
        }
    }
    return is_zero_rest(at, len);
}

bool zeroes_fill(const struct iovec *iov, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!is_zero_piece(iov[i].iov_base, iov[i].iov_len)) {
            return false;
        }
    }
    return true;
}
