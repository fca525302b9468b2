/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The image, and the kernel's operations on it, which outlive the process that began them.  What a
 * path to a file is (core/block/path_file.c) is the product's own; here are its engine and wiper.
 */

#include "core/block/image.h"

#define IMAGE_SECTORS 64u

/* What a sector has: who wrote it last; 0: zeroes. */
void image_reset(void);

int sim_image_open(struct image **out);

/* Operations that the kernel has. */
unsigned image_busy(void);

/* Of these, those that are not asleep; and one of them goes on. */
unsigned image_ready(void);
void image_step(unsigned which);

/* None sleeps any more.  Returns false: there are none. */
bool image_wake(void);

/* The process is gone, they are not. */
void image_orphan(void);

/* Are there any of a process that is gone? */
bool image_has_orphans(void);

/* What is there, and what would be there after a power cut. */
const uint8_t *image_sector(unsigned sector);
const uint8_t *image_stable_sector(unsigned sector);
