/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Patterns that tell where they belong: each sector names its place on the disk, the
 * generation of its block and the run that wrote it, and is filled by what follows from these.
 * A table of generations says what each block has to hold.  Owned by the load; one thread.
 */

#include "core/base/base.h"
#include "core/base/err.h"

struct verify {
    uint64_t run;    /* tells this run's patterns from those of others */
    uint32_t *block; /* owned: generation, 0: not known what it holds; and VERIFY_BUSY */
    uint64_t blocks; /* 0: nothing is verified */
    uint64_t offset; /* of block 0 on the disk, bytes */
    uint32_t block_bytes;
    uint64_t checked; /* blocks read and compared */
    uint64_t wrong;   /* of them */
};

/* A request for the block is under way. */
#define VERIFY_BUSY 0x80000000u

int verify_init(struct verify *verify, uint64_t offset, uint64_t blocks, uint32_t block_bytes,
                struct err *err);
void verify_fini(struct verify *verify);

/* Fill a block's next generation into `data`. */
void verify_fill(const struct verify *verify, uint64_t block, uint8_t *data);

/* It was written: that generation is the block's from now on; or it failed: nothing is known. */
void verify_written(struct verify *verify, uint64_t block, bool ok);

/* Is `data` what the block has to hold?  If not, `err` says what is wrong. */
bool verify_check(struct verify *verify, uint64_t block, const uint8_t *data, struct err *err);
