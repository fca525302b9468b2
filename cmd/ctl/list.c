/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/list.h"

#include <inttypes.h>

#include "cmd/common/size.h"
#include "cmd/ctl/print.h"
#include "cmd/ctl/rows.h"

/* One that is being added has none. */
static const char *size_of(const json_t *disk, char text[SIZE_TEXT_BYTES])
{
    uint64_t size = print_number_of(disk, "size");

    return size > 0 ? size_format(size, text) : "-";
}

static void list_row(struct grid *grid, const json_t *disk)
{
    const json_t *client = json_object_get(disk, "client");
    const json_t *image = json_object_get(disk, "image");
    const char *path = print_text_of(image, "path");
    char size[SIZE_TEXT_BYTES];
    char fate[32];

    grid_row(grid);
    grid_cell(grid, 0, "%s", print_text_of(disk, "name"));
    grid_cell(grid, 1, "%s", print_text_of(disk, "state"));
    grid_cell(grid, 2, "%s", size_of(disk, size));
    if (json_is_object(client)) {
        grid_cell(grid, 3, "%s/%" PRIu64, print_text_of(client, "comm"),
                  print_number_of(client, "pid"));
    } else {
        grid_cell(grid, 3, "-");
    }
    grid_cell(grid, 4, "%" PRIu64 "/%" PRIu64, print_number_of(disk, "queues_running"),
              print_number_of(disk, "queues"));
    grid_cell(grid, 5, "%s%s%s", path[0] ? path : print_text_of(image, "type"),
              rows_fate(image, fate, sizeof(fate)),
              json_is_true(json_object_get(disk, "readonly")) ? " (read-only)" : "");
}
void list_warnings(const json_t *object, const char *key)
{
    size_t i;
    json_t *warning;

    json_array_foreach(json_object_get(object, "warnings"), i, warning)
    {
        print_field(key, "%s", print_text_of(warning, "text"));
    }
}
void list_show(const json_t *result, const struct args *args)
{
    static const char *const header[] = {"NAME", "STATE", "SIZE", "CLIENT", "QUEUES", "IMAGE"};
    const json_t *disks = json_object_get(result, "disks");
    struct grid grid = {.right = 1u << 2 | 1u << 4};
    size_t i;
    json_t *disk;

    grid_row(&grid);
    for (unsigned column = 0; column < ARRAY_SIZE(header); column++) {
        grid_cell(&grid, column, "%s", header[column]);
    }
    json_array_foreach(disks, i, disk)
    {
        list_row(&grid, disk);
    }
    grid_print(&grid);
    json_array_foreach(disks, i, disk)
    {
        if (print_text_of(disk, "reason")[0]) {
            print_field(print_text_of(disk, "name"), "%s", print_text_of(disk, "reason"));
        }
        list_warnings(disk, print_text_of(disk, "name"));
    }
    list_warnings(result, "vblkd");
}
