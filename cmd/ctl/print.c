/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"

#define FIELD_WIDTH 15

const char *print_text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text ? text : "";
}

uint64_t print_number_of(const json_t *object, const char *member)
{
    return (uint64_t)json_integer_value(json_object_get(object, member));
}

void grid_row(struct grid *grid)
{
    void *cells = realloc(grid->cells, (grid->rows + 1) * sizeof(*grid->cells));

    if (!cells) {
        log_plain("vblkctl: out of memory");
        exit(EXIT_FAILURE);
    }
    grid->cells = cells;
    memset(grid->cells[grid->rows], 0, sizeof(*grid->cells));
    grid->rows++;
}

void grid_cell(struct grid *grid, unsigned column, const char *fmt, ...)
{
    char text[GRID_CELL_BYTES * 2];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)text_safe(text, grid->cells[grid->rows - 1][column], GRID_CELL_BYTES);
    if (column >= grid->columns) {
        grid->columns = column + 1;
    }
}

static size_t column_width(const struct grid *grid, unsigned column)
{
    size_t width = 0;

    for (size_t row = 0; row < grid->rows; row++) {
        size_t len = strlen(grid->cells[row][column]);

        width = len > width ? len : width;
    }
    return width;
}

void grid_print(struct grid *grid)
{
    int width[GRID_COLUMNS];

    for (unsigned column = 0; column < grid->columns; column++) {
        width[column] = (int)column_width(grid, column);
    }
    for (size_t row = 0; row < grid->rows; row++) {
        for (unsigned column = 0; column < grid->columns; column++) {
            const char *cell = grid->cells[row][column];
            bool is_last = column + 1 == grid->columns;

            if (grid->right & (1u << column)) {
                printf("%*s%s", width[column], cell, is_last ? "" : "  ");
            } else {
                printf("%-*s%s", is_last ? 0 : width[column], cell, is_last ? "" : "  ");
            }
        }
        printf("\n");
    }
    free(grid->cells);
    memset(grid, 0, sizeof(*grid));
}

void print_field(const char *key, const char *fmt, ...)
{
    char *text = NULL;
    int room = FIELD_WIDTH - (int)strlen(key);
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    printf("%s:%*s%s\n", key, room > 1 ? room : 1, "", text);
    free(text);
}
