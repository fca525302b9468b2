/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Text for people: aligned tables and "key: value" lines, of answers that answer_make_safe has
 * seen.
 */

#include <jansson.h>

#include "core/base/base.h"

/* Members of an answer; what is not there is "" or 0. */
const char *print_text_of(const json_t *object, const char *member);
uint64_t print_number_of(const json_t *object, const char *member);

#define GRID_COLUMNS 10
#define GRID_CELL_BYTES 128

/* A table whose columns are as wide as their longest cell.  Zeroed memory is an empty one. */
struct grid {
    char (*cells)[GRID_COLUMNS][GRID_CELL_BYTES]; /* owned */
    size_t rows;
    unsigned columns;
    unsigned right; /* bit n: column n is a number */
};

/* The first row is the header.  The cell of `column` in the last row: */
void grid_row(struct grid *grid);
void grid_cell(struct grid *grid, unsigned column, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Print and free. */
void grid_print(struct grid *grid);

/* "key:    value" */
void print_field(const char *key, const char *fmt, ...) PRINTF_LIKE(2, 3);
