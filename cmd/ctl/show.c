/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ctl/print.h"
#include "cmd/ctl/shape.h"
#include "cmd/common/size.h"
#include "daemon/disk_params.h"

/* ---- list ---- */

/* What follows the path: " (deleted)", or nothing where all is well or not known. */
static const char *fate_of(const json_t *image, char *text, size_t size)
{
    const char *fate = print_text_of(image, "fate");

    text[0] = '\0';
    if (fate[0] && strcmp(fate, "there") != 0 && strcmp(fate, "unknown") != 0) {
        (void)snprintf(text, size, " (%s)", fate);
    }
    return text;
}

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
              fate_of(image, fate, sizeof(fate)),
              json_is_true(json_object_get(disk, "readonly")) ? " (read-only)" : "");
}

void show_warnings(const json_t *object, const char *key)
{
    size_t i;
    json_t *warning;

    json_array_foreach(json_object_get(object, "warnings"), i, warning)
    {
        print_field(key, "%s", print_text_of(warning, "text"));
    }
}

void show_list(const json_t *result, const struct args *args)
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
        show_warnings(disk, print_text_of(disk, "name"));
    }
    show_warnings(result, "vblkd");
}

/* ---- show ---- */

static void show_client(const json_t *disk)
{
    const json_t *client = json_object_get(disk, "client");
    const json_t *memory = json_object_get(disk, "memory");
    char size[SIZE_TEXT_BYTES];

    if (!json_is_object(client)) {
        print_field("client", "none");
        return;
    }
    print_field("client", "%s, process %" PRIu64 ", user %" PRIu64, print_text_of(client, "comm"),
                print_number_of(client, "pid"), print_number_of(client, "uid"));
    print_field("guest memory", "%s in %" PRIu64 " region%s%s",
                size_format(print_number_of(memory, "bytes"), size),
                print_number_of(memory, "regions"),
                print_number_of(memory, "regions") == 1 ? "" : "s",
                json_is_true(json_object_get(memory, "lost")) ? ", some of it was taken away" : "");
    shape_show_features("features", print_number_of(disk, "features"));
}

/* ---- what was asked for, by the rows of the daemon's tables ---- */

#define VALUE_BYTES 512

/* "5 ms", "yes", or the text. */
static void say_value(const struct param *row, const json_t *value, char text[VALUE_BYTES])
{
    if (json_is_boolean(value)) {
        (void)snprintf(text, VALUE_BYTES, "%s", json_is_true(value) ? "yes" : "no");
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

/* Other lines have these, with what has become of them. */
static bool is_told_elsewhere(const struct param *row)
{
    static const char *const names[] = {"name",
                                        "image",
                                        "queues",
                                        "queue_size",
                                        "logical_block_size",
                                        "physical_block_size",
                                        "seg_max",
                                        "size_max",
                                        "geometry",
                                        "discard",
                                        "write_zeroes",
                                        "discard_granularity",
                                        "max_discard",
                                        "max_discard_segments",
                                        "max_write_zeroes",
                                        "max_write_zeroes_segments",
                                        "config_wce",
                                        "packed",
                                        "in_order",
                                        "as_shown",
                                        "poll_us",
                                        "poll_cpu",
                                        "engine",
                                        "threads",
                                        "socket"};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(names[i], row->name) == 0) {
            return true;
        }
    }
    return false;
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

/* ---- the image ---- */

static const struct image_type *type_of(const json_t *image)
{
    return image_type_find(print_text_of(image, "type"));
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
                fate_of(image, fate, sizeof(fate)), text);
}

static void show_image(const json_t *disk)
{
    const json_t *image = json_object_get(disk, "image");
    const struct image_type *type = type_of(image);
    double flushing_s = (double)print_number_of(image, "flushing_ns") / 1e9;
    char flushing[64] = "";

    show_what_it_is(image, type);
    for (const struct param *row = type ? type->kind.params : NULL; row && row->name; row++) {
        if (row->is_told && !row->is_required && !row->phrase) {
            show_row(image, row);
        }
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

/* What runs and why.  `where` is empty when all threads have the same. */
static void show_running(const json_t *engines, size_t first, const char *where, const char *asked)
{
    const json_t *running = json_array_get(engines, first);
    const char *engine = print_text_of(running, "engine");
    const char *reason = print_text_of(running, "engine_reason");

    if (strcmp(asked, "auto") == 0) {
        print_field("engine", "%s%s (chosen by auto: %s)", engine, where, reason);
    } else if (strcmp(asked, engine) == 0) {
        print_field("engine", "%s%s (asked for)", engine, where);
    } else {
        print_field("engine", "%s%s (%s was asked for: %s)", engine, where, asked, reason);
    }
}

/* The threads from `first` on that have the same engine, and for the same reason. */
static size_t count_alike(const json_t *engines, size_t first)
{
    size_t count = 1;

    while (json_equal(json_array_get(engines, first), json_array_get(engines, first + count))) {
        count++;
    }
    return count;
}

/* A line for each run of threads that are alike, or what will run. */
static void show_engines(const json_t *disk)
{
    const json_t *image = json_object_get(disk, "image");
    const json_t *engines = json_object_get(image, "engines");
    const struct image_type *type = type_of(image);
    const char *asked = print_text_of(disk, "engine");
    size_t threads = json_array_size(engines);
    size_t count;

    for (size_t first = 0; first < threads; first += count) {
        char where[64] = "";

        count = count_alike(engines, first);
        if (count == 1 && threads > 1) {
            (void)snprintf(where, sizeof(where), ", thread %zu", first);
        } else if (count < threads) {
            (void)snprintf(where, sizeof(where), ", threads %zu to %zu", first, first + count - 1);
        }
        show_running(engines, first, where, asked);
    }
    if (threads == 0 && type && type->has_file) {
        print_field("engine", "%s, when the image is open", asked);
    }
}

static void show_polling(const json_t *disk)
{
    uint64_t max_us = print_number_of(disk, "poll_us");

    if (max_us == 0) {
        print_field("polling", "off");
    } else {
        print_field("polling",
                    "up to %" PRIu64 " us before sleeping, up to %" PRIu64 " %% of a core", max_us,
                    print_number_of(disk, "poll_cpu"));
    }
}

static void show_inflight(const json_t *disk)
{
    const json_t *oldest = json_object_get(disk, "oldest");

    print_field("in flight", "%" PRIu64, print_number_of(disk, "inflight"));
    if (print_number_of(disk, "held") > 0) {
        print_field("held", "%" PRIu64 ", until the disk is started",
                    print_number_of(disk, "held"));
    }
    if (json_is_object(oldest)) {
        print_field("oldest",
                    "%s of %" PRIu64 " bytes at offset %" PRIu64 ", ring %" PRIu64 ", for %.3f s",
                    print_text_of(oldest, "type"), print_number_of(oldest, "length"),
                    print_number_of(oldest, "offset"), print_number_of(oldest, "ring"),
                    print_number_of(oldest, "age_ns") / 1e9);
    }
}

static void show_paused(const json_t *disk)
{
    char text[128] = "";
    size_t used = 0;
    size_t i;
    json_t *reason;

    json_array_foreach(json_object_get(disk, "paused_by"), i, reason)
    {
        if (used < sizeof(text)) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i > 0 ? ", " : "",
                                     json_string_value(reason));
        }
    }
    print_field("paused by", "%s", text[0] ? text : "nothing");
}

static void show_rings(const json_t *rings)
{
    static const char *const header[] = {"RING",       "SIZE",       "STATE",  "IN FLIGHT",
                                         "NEXT AVAIL", "USED INDEX", "THREAD", "FAULT"};
    struct grid grid = {.right = 1u << 0 | 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6};
    size_t i;
    json_t *ring;

    if (json_array_size(rings) == 0) {
        return;
    }
    grid_row(&grid);
    for (unsigned column = 0; column < ARRAY_SIZE(header); column++) {
        grid_cell(&grid, column, "%s", header[column]);
    }
    json_array_foreach(rings, i, ring)
    {
        bool is_running = json_is_true(json_object_get(ring, "running"));
        bool is_enabled = json_is_true(json_object_get(ring, "enabled"));

        grid_row(&grid);
        grid_cell(&grid, 0, "%" PRIu64, print_number_of(ring, "index"));
        grid_cell(&grid, 1, "%" PRIu64, print_number_of(ring, "size"));
        grid_cell(&grid, 2, "%s",
                  print_text_of(ring, "fault")[0] ? "broken"
                  : !is_running                   ? "stopped"
                  : is_enabled                    ? "running"
                                                  : "disabled");
        grid_cell(&grid, 3, "%" PRIu64, print_number_of(ring, "inflight"));
        grid_cell(&grid, 4, "%" PRIu64, print_number_of(ring, "last_avail"));
        grid_cell(&grid, 5, "%" PRIu64, print_number_of(ring, "used"));
        grid_cell(&grid, 6, "%" PRIu64, print_number_of(ring, "thread"));
        grid_cell(&grid, 7, "%s", print_text_of(ring, "fault"));
    }
    printf("\n");
    grid_print(&grid);
}

/* "2: 4711 4712", in the order of their numbers in the table of rings. */
static void show_threads(const json_t *disk)
{
    char text[256] = "";
    size_t i;
    json_t *id;

    json_array_foreach(json_object_get(disk, "thread_ids"), i, id)
    {
        size_t used = strlen(text);

        (void)snprintf(text + used, sizeof(text) - used, " %" JSON_INTEGER_FORMAT,
                       json_integer_value(id));
    }
    print_field("threads", "%zu:%s", json_array_size(json_object_get(disk, "thread_ids")), text);
}

/* One line, as `add` takes it. */
static void show_for_elsewhere(const json_t *disk)
{
    char *text = json_dumps(json_object_get(disk, "shown"), JSON_COMPACT);

    printf("%s\n", text ? text : "null");
    free(text);
}

static void show_all(const json_t *disk)
{
    uint64_t size = print_number_of(disk, "size");
    char text[SIZE_TEXT_BYTES];

    print_field("name", "%s", print_text_of(disk, "name"));
    print_field("state", "%s", print_text_of(disk, "state"));
    if (print_text_of(disk, "reason")[0]) {
        print_field("reason", "%s", print_text_of(disk, "reason"));
    }
    show_warnings(disk, "warning");
    if (size > 0) {
        print_field("size", "%s (%" PRIu64 " bytes)", size_of(disk, text), size);
    } else {
        print_field("size", "-");
    }
    show_rows(disk, disk_params);
    if (size > 0) {
        shape_show_blocks(disk);
        shape_show_segments(disk);
        shape_show_chs(disk);
        shape_show_ranges(disk);
        shape_show_largest_ranges(disk);
        shape_show_write_cache(disk);
        shape_show_shown(disk);
    }
    show_image(disk);
    show_engines(disk);
    print_field("socket", "%s%s", print_text_of(disk, "socket"),
                json_is_true(json_object_get(disk, "listening")) ? "" : " (closed)");
    show_client(disk);
    print_field("queues", "%" PRIu64 " running of %" PRIu64 ", each up to %" PRIu64,
                print_number_of(disk, "queues_running"), print_number_of(disk, "queues"),
                print_number_of(disk, "queue_size"));
    show_polling(disk);
    show_paused(disk);
    show_inflight(disk);
    show_threads(disk);
    show_rings(json_object_get(disk, "rings"));
}

static bool wants_shown(const struct args *args)
{
    return args && args->own && json_object_get(args->own, "shown");
}

int show_check(const struct args *args, struct err *err)
{
    return args->is_json && wants_shown(args)
               ? err_say(err, -EINVAL, "--shown: does not go with --json, which has it, too")
               : 0;
}

void show_disk(const json_t *disk, const struct args *args)
{
    if (wants_shown(args)) {
        show_for_elsewhere(disk);
    } else {
        show_all(disk);
    }
}

void show_change(const json_t *disk, const struct args *args)
{
    printf("%s: %s%s\n", print_text_of(disk, "name"), print_text_of(disk, "state"),
           json_is_false(json_object_get(disk, "changed")) ? ", as it was before" : "");
    show_warnings(disk, print_text_of(disk, "name"));
}

void show_removed(const json_t *result, const struct args *args)
{
    printf("%s: removed\n", print_text_of(result, "name"));
}
