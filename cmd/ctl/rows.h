/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Lines of `vblkctl show` by the rows of the daemon's tables: what was asked for.
 */

#include <jansson.h>
#include <stddef.h>

/* What the answer has of the rows and no other line tells. */
void rows_show(const json_t *disk);

/* The image: what it is, what was asked of it, and how it is open. */
void rows_show_image(const json_t *disk);

/* What follows its path: " (deleted)", or nothing where all is well or not known. */
const char *rows_fate(const json_t *image, char *text, size_t size);
