/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An image whose requests are in flight until the test lets them end: what is done meanwhile needs
 * no delay that is long enough.  It stores nothing, as a null image.  There is one gate in a
 * process. Thread: any, but for gate_image_open.
 */

#include "core/block/image.h"

int gate_image_open(struct image **out, uint64_t size, struct err *err);

/* What is in flight ends, and what comes then ends at once. */
void gate_open(void);

void gate_shut(void);
