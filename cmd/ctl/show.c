/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/common/size.h"
#include "cmd/ctl/list.h"
#include "cmd/ctl/held.h"
#include "cmd/ctl/print.h"
#include "cmd/ctl/rates.h"
#include "cmd/ctl/rows.h"
#include "cmd/ctl/shape.h"
#include "daemon/disk_params.h"
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
    const struct image_type *type = image_type_find(print_text_of(image, "type"));
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
    held_show(disk);
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
    bool is_known = json_is_integer(json_object_get(disk, "size"));
    char text[SIZE_TEXT_BYTES];

    print_field("name", "%s", print_text_of(disk, "name"));
    print_field("state", "%s", print_text_of(disk, "state"));
    if (print_text_of(disk, "reason")[0]) {
        print_field("reason", "%s", print_text_of(disk, "reason"));
    }
    list_warnings(disk, "warning");
    if (size > 0) {
        print_field("size", "%s (%" PRIu64 " bytes)", size_format(size, text), size);
    } else {
        print_field("size", "%s", is_known ? "0, it is empty" : "-");
    }
    rows_show(disk);
    if (is_known) {
        shape_show_blocks(disk);
        shape_show_segments(disk);
        shape_show_chs(disk);
        shape_show_ranges(disk);
        shape_show_largest_ranges(disk);
        shape_show_write_cache(disk);
        shape_show_shown(disk);
    }
    rows_show_image(disk);
    show_engines(disk);
    print_field("socket", "%s%s", print_text_of(disk, "socket"),
                json_is_true(json_object_get(disk, "listening")) ? "" : " (closed)");
    show_client(disk);
    print_field("queues", "%" PRIu64 " running of %" PRIu64 ", each up to %" PRIu64,
                print_number_of(disk, "queues_running"), print_number_of(disk, "queues"),
                print_number_of(disk, "queue_size"));
    show_polling(disk);
    rates_show(disk);
    show_paused(disk);
    held_show_iostatus(disk);
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
    list_warnings(disk, print_text_of(disk, "name"));
}

void show_removed(const json_t *result, const struct args *args)
{
    printf("%s: removed\n", print_text_of(result, "name"));
}
