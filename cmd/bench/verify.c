/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#define MAGIC 0x68636e626b6c6276ull /* "vblkbnch" */
#define WORDS (SECTOR_SIZE / sizeof(uint64_t))

enum { WORD_MAGIC, WORD_RUN, WORD_OFFSET, WORD_GENERATION, WORD_FILL };

/* Of splitmix64: any two inputs give words that have nothing in common. */
static uint64_t scatter(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}

static void make_sector(const struct verify *verify, uint64_t offset, uint32_t generation,
                        uint64_t word[WORDS])
{
    uint64_t seed = scatter(verify->run + scatter(offset) + generation);

    word[WORD_MAGIC] = MAGIC;
    word[WORD_RUN] = verify->run;
    word[WORD_OFFSET] = offset;
    word[WORD_GENERATION] = generation;
    for (unsigned i = WORD_FILL; i < WORDS; i++) {
        word[i] = scatter(seed + i);
    }
}

static uint64_t offset_of(const struct verify *verify, uint64_t block)
{
    return verify->offset + block * verify->block_bytes;
}

static uint32_t generation_of(const struct verify *verify, uint64_t block)
{
    return verify->block[block] & ~VERIFY_BUSY;
}

/* Never 0, which is "not known". */
static uint32_t next_generation(const struct verify *verify, uint64_t block)
{
    uint32_t next = (generation_of(verify, block) + 1) & ~VERIFY_BUSY;

    return next == 0 ? 1 : next;
}

void verify_fill(const struct verify *verify, uint64_t block, uint8_t *data)
{
    uint64_t word[WORDS];

    for (uint32_t at = 0; at < verify->block_bytes; at += SECTOR_SIZE) {
        make_sector(verify, offset_of(verify, block) + at, next_generation(verify, block), word);
        memcpy(data + at, word, sizeof(word));
    }
}

void verify_written(struct verify *verify, uint64_t block, bool ok)
{
    uint32_t busy = verify->block[block] & VERIFY_BUSY;

    verify->block[block] = busy | (ok ? next_generation(verify, block) : 0);
}

static bool is_zero(const uint64_t word[WORDS])
{
    for (unsigned i = 0; i < WORDS; i++) {
        if (word[i] != 0) {
            return false;
        }
    }
    return true;
}

static unsigned first_difference(const void *left, const void *right)
{
    unsigned at = 0;

    while (at < SECTOR_SIZE && ((const uint8_t *)left)[at] == ((const uint8_t *)right)[at]) {
        at++;
    }
    return at;
}

/* "expected X, seen Y": which of the things that can go wrong has? */
static void describe(const uint64_t wanted[WORDS], const uint64_t seen[WORDS], struct err *err)
{
    uint64_t generation = wanted[WORD_GENERATION];
    uint64_t offset = wanted[WORD_OFFSET];

    (void)err_say(err, -EILSEQ, "wrong data at offset %" PRIu64 ": expected generation %" PRIu64,
                  offset, generation);
    if (is_zero(seen)) {
        err_hint(err, "seen zeros: never written, or wiped");
    } else if (seen[WORD_MAGIC] != MAGIC) {
        err_hint(err, "seen bytes of something else, from byte %u on",
                 first_difference(wanted, seen));
    } else if (seen[WORD_RUN] != wanted[WORD_RUN]) {
        err_hint(err, "seen what another run wrote for offset %" PRIu64 ": lost",
                 seen[WORD_OFFSET]);
    } else if (seen[WORD_OFFSET] != offset) {
        err_hint(err, "seen generation %" PRIu64 " of offset %" PRIu64 ": misplaced",
                 seen[WORD_GENERATION], seen[WORD_OFFSET]);
    } else if (seen[WORD_GENERATION] != generation) {
        err_hint(err, "seen generation %" PRIu64 ": %s", seen[WORD_GENERATION],
                 seen[WORD_GENERATION] < generation ? "stale" : "from the future");
    } else {
        err_hint(err, "seen other bytes from byte %u of the sector on",
                 first_difference(wanted, seen));
    }
}

bool verify_check(struct verify *verify, uint64_t block, const uint8_t *data, struct err *err)
{
    uint64_t wanted[WORDS];
    uint64_t seen[WORDS];

    if (generation_of(verify, block) == 0) {
        return true;
    }
    verify->checked++;
    for (uint32_t at = 0; at < verify->block_bytes; at += SECTOR_SIZE) {
        make_sector(verify, offset_of(verify, block) + at, generation_of(verify, block), wanted);
        copy_once(seen, data + at, sizeof(seen)); /* a back-end may still write there */
        if (memcmp(wanted, seen, sizeof(seen)) != 0) {
            verify->wrong++;
            describe(wanted, seen, err);
            return false;
        }
    }
    return true;
}

int verify_init(struct verify *verify, uint64_t offset, uint64_t blocks, uint32_t block_bytes,
                struct err *err)
{
    *verify = (struct verify){
        .run = now_ns(), .offset = offset, .blocks = blocks, .block_bytes = block_bytes};
    /* Without randomness the clock is good enough to tell runs apart. */
    (void)!getrandom(&verify->run, sizeof(verify->run), GRND_NONBLOCK);
    verify->block = calloc(blocks, sizeof(*verify->block));
    if (!verify->block) {
        return err_set(err, -ENOMEM, "a table of %" PRIu64 " blocks", blocks);
    }
    return 0;
}

void verify_fini(struct verify *verify)
{
    free(verify->block);
}
