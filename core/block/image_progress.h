/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How far the opening of an image is, and whether anybody wants it still.
 * Owned by the opening.  Thread: any; its words order nothing else.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/holder.h"

#define IMAGE_WAIT_BYTES (HOLDER_BYTES + 64)

struct image_progress {
    _Atomic uint64_t bytes; /* of a new file, that are allocated */
    _Atomic bool is_unwanted;
    char waits_for[IMAGE_WAIT_BYTES]; /* see image_wait_text; under a mutex of that */
};
