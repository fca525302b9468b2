/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A fixed pool of aligned buffers for O_DIRECT with guest buffers that are not aligned: all
 * firmware and some drivers have such.  A request larger than a buffer goes through it piece
 * by piece; one that finds no buffer waits in its path.
 * Owned by its path; that one's thread only.
 */

#include "core/base/base.h"

#define BOUNCE_BUFFERS 16
#define BOUNCE_BYTES (128u * 1024)

struct bounce {
    uint8_t *memory; /* owned; untouched, and so free of cost, until used */
    unsigned free_count;
    uint8_t *free[BOUNCE_BUFFERS];
};

/* Returns 0 or -ENOMEM. */
int bounce_init(struct bounce *bounce);
void bounce_fini(struct bounce *bounce);

/* A buffer of BOUNCE_BYTES, aligned to a page, or NULL when all are in use. */
uint8_t *bounce_get(struct bounce *bounce);
void bounce_put(struct bounce *bounce, uint8_t *buffer);
