/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/rows.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/print.h"
#include "cmd/common/size.h"
#include "daemon/disk_params.h"
#include "daemon/rate_params.h"

#define VALUE_BYTES 512

/* "libvirt-qemu (64055)", as this host knows it; nothing where it is nobody in particular. */
static void say_id(const struct param *row, json_int_t id, char text[VALUE_BYTES])
{
    const struct passwd *user = row->type == PARAM_USER ? getpwuid((uid_t)id) : NULL;
    const struct group *users = row->type == PARAM_USERS ? getgrgid((gid_t)id) : NULL;
    const char *name = user ? user->pw_name : users ? users->gr_name : "";

    text[0] = '\0';
    if (id >= 0) {
        (void)snprintf(text, VALUE_BYTES,
                       name[0] ? "%s (%" JSON_INTEGER_FORMAT ")" : "%s%" JSON_INTEGER_FORMAT, name,
                       id);
    }
}

/* "5 ms", "yes", or the text. */
static void say_value(const struct param *row, const json_t *value, char text[VALUE_BYTES])
{
    if (json_is_boolean(value)) {
        (void)snprintf(text, VALUE_BYTES, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_integer(value) && (row->type == PARAM_USER || row->type == PARAM_USERS)) {
        say_id(row, json_integer_value(value), text);
    } else if (json_is_integer(value)) {
        (void)snprintf(text, VALUE_BYTES, "%" JSON_INTEGER_FORMAT "%s%s", json_integer_value(value),
                       row->unit ? " " : "", row->unit ? row->unit : "");
    } else {
        (void)snprintf(text, VALUE_BYTES, "%s",
                       json_is_string(value) ? json_string_value(value) : "");
    }
}

static void show_row(const json_t *object, const struct param *row)
{
    char label[PARAM_OPTION_BYTES];
    char text[VALUE_BYTES];

    param_spell(row->name, ' ', label);
    say_value(row, json_object_get(object, row->name), text);
    if (text[0]) {
        print_field(label, "%s", text);
    }
}

static bool is_rate(const struct param *row)
{
    for (const struct param *rate = rate_params; rate->name; rate++) {
        if (strcmp(rate->name, row->name) == 0) {
            return true;
        }
    }
    return strcmp(row->name, "group") == 0;
}

/* Other lines have these, with what has become of them. */
static bool is_told_elsewhere(const struct param *row)
{
    static const char *const names[] = {
        "name",     "image",  "queues",  "queue_size", "emulate_512", "as_shown", "poll_us",
        "poll_cpu", "engine", "threads", "socket",     "offset",      "length"};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(names[i], row->name) == 0) {
            return true;
        }
    }
    return row->is_shown || is_rate(row);
}

/* What the answer has of the rows and no other line tells; a daemon of before has not all. */
static void show_rows(const json_t *object, const struct param *table)
{
    struct param_walk at = param_walk(table);

    while (param_walk_next(&at)) {
        const json_t *value = json_object_get(object, at.param->name);

        if (value && at.param->type == PARAM_OBJECT && !is_told_elsewhere(at.param)) {
            show_rows(value, at.param->members);
        } else if (value && !is_told_elsewhere(at.param)) {
            show_row(object, at.param);
        }
    }
}

void rows_show(const json_t *disk)
{
    show_rows(disk, disk_params);
}

/* ---- the image ---- */

const char *rows_fate(const json_t *image, char *text, size_t size)
{
    const char *fate = print_text_of(image, "fate");

    text[0] = '\0';
    if (fate[0] && strcmp(fate, "there") != 0 && strcmp(fate, "unknown") != 0) {
        (void)snprintf(text, size, " (%s)", fate);
    }
    return text;
}

/* The path and what has become of it, or the type and what is odd about it. */
static void show_what_it_is(const json_t *image, const struct image_type *type)
{
    const char *path = print_text_of(image, "path");
    char fate[32];
    char text[VALUE_BYTES] = "";
    size_t used = 0;

    for (const struct param *row = type ? type->kind.params : NULL; row && row->name; row++) {
        char value[VALUE_BYTES];

        if (row->phrase && used < sizeof(text)) {
            say_value(row, json_object_get(image, row->name), value);
            used +=
                (size_t)snprintf(text + used, sizeof(text) - used, ", %s %s", row->phrase, value);
        }
    }
    print_field("image", "%s%s%s", path[0] ? path : print_text_of(image, "type"),
                rows_fate(image, fate, sizeof(fate)), text);
}

static void show_range(const json_t *image)
{
    uint64_t offset = print_number_of(image, "offset");
    uint64_t length = print_number_of(image, "length");
    char size[SIZE_TEXT_BYTES];

    if (offset > 0 || length > 0) {
        print_field("range", "%s from byte %" PRIu64 " of the image on",
                    length > 0 ? size_format(length, size) : "all", offset);
    }
}

void rows_show_image(const json_t *disk)
{
    const json_t *image = json_object_get(disk, "image");
    const struct image_type *type = image_type_find(print_text_of(image, "type"));
    double flushing_s = (double)print_number_of(image, "flushing_ns") / 1e9;
    char flushing[64] = "";

    show_what_it_is(image, type);
    for (const struct param *row = type ? type->kind.params : NULL; row && row->name; row++) {
        if (row->is_told && !row->is_required && !row->phrase && !is_told_elsewhere(row)) {
            show_row(image, row);
        }
    }
    show_range(image);
    if (!json_object_get(image, "open")) {
        return; /* there is none */
    }
    if (!json_is_true(json_object_get(image, "open"))) {
        print_field("image is", "closed");
        return;
    }
    if (flushing_s > 0) {
        (void)snprintf(flushing, sizeof(flushing), ", for %.1f s in the flush before it is closed",
                       flushing_s);
    }
    print_field("image is",
                "open, %" PRIu64 " bytes, in blocks of %" PRIu64 ", at best %" PRIu64 "%s",
                print_number_of(image, "size"), print_number_of(image, "block_size"),
                print_number_of(image, "physical_block_size"), flushing);
}
