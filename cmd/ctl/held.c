/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/held.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/print.h"
#include "core/base/err.h"

void held_show_iostatus(const json_t *disk)
{
    const char *status = print_text_of(disk, "iostatus");

    if (status[0]) {
        print_field("I/O status", "%s", status);
    }
}

/* ": 3 write, 1 not tried since" */
static void say_types(const json_t *types, char *text, size_t size)
{
    const char *type;
    json_t *count;
    size_t used = 0;

    text[0] = '\0';
    json_object_foreach((json_t *)types, type, count)
    {
        if (json_integer_value(count) > 0 && used < size) {
            used += (size_t)snprintf(text + used, size - used, "%s %" JSON_INTEGER_FORMAT " %s",
                                     used > 0 ? "," : ":", json_integer_value(count),
                                     strcmp(type, "untried") == 0 ? "not tried since" : type);
        }
    }
}

static void show_first(const json_t *first)
{
    const char *name = print_text_of(first, "errno");

    print_field("held first",
                "%s of %" PRIu64 " bytes at offset %" PRIu64 ", ring %" PRIu64
                ", for %.3f s: %s, %s",
                print_text_of(first, "type"), print_number_of(first, "length"),
                print_number_of(first, "offset"), print_number_of(first, "ring"),
                (double)print_number_of(first, "age_ns") / 1e9, name, strerror(-err_code(name)));
}

void held_show(const json_t *disk)
{
    const json_t *first = json_object_get(disk, "held_first");
    char types[200];

    if (print_number_of(disk, "held") == 0) {
        return;
    }
    say_types(json_object_get(disk, "held_types"), types, sizeof(types));
    print_field("held", "%" PRIu64 ", until the disk is started%s", print_number_of(disk, "held"),
                types);
    if (json_is_object(first)) {
        show_first(first);
    }
}
