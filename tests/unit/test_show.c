/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "cmd/ctl/list.h"
#include "cmd/ctl/show.h"

/* What is printed of an answer that is as `json` says.  To be freed. */
static char *printed(void (*print)(const json_t *, const struct args *), const char *json)
{
    json_t *answer = json_loads(json, 0, NULL);
    FILE *terminal = stdout;
    char *text = NULL;
    size_t length;

    assert_non_null(answer);
    stdout = open_memstream(&text, &length);
    print(answer, NULL);
    (void)fclose(stdout);
    stdout = terminal;
    json_decref(answer);
    return text;
}

static void expect_printed(void (*print)(const json_t *, const struct args *), const char *json,
                           const char *lines)
{
    char *text = printed(print, json);

    if (!strstr(text, lines)) {
        print_error("%s", text);
        fail();
    }
    free(text);
}

static void expect_shown(const char *json, const char *lines)
{
    expect_printed(show_disk, json, lines);
}

static void threads_with_one_engine_have_one_line(void **state)
{
    expect_shown("{\"engine\": \"auto\", \"image\": {\"open\": true, \"engines\": ["
                 "{\"engine\": \"aio\", \"engine_reason\": \"direct\"},"
                 "{\"engine\": \"aio\", \"engine_reason\": \"direct\"}]}}",
                 "\nengine:         aio (chosen by auto: direct)\nsocket:");
}

static void engine_of_each_thread_is_shown_where_they_differ(void **state)
{
    expect_shown("{\"engine\": \"auto\", \"image\": {\"open\": true, \"engines\": ["
                 "{\"engine\": \"aio\", \"engine_reason\": \"direct\"},"
                 "{\"engine\": \"io_uring\", \"engine_reason\": \"none left\"},"
                 "{\"engine\": \"io_uring\", \"engine_reason\": \"none left\"}]}}",
                 "\nengine:         aio, thread 0 (chosen by auto: direct)"
                 "\nengine:         io_uring, threads 1 to 2 (chosen by auto: none left)\nsocket:");
}

static void engine_that_was_not_asked_for_is_shown_with_its_threads(void **state)
{
    expect_shown("{\"engine\": \"io_uring\", \"image\": {\"open\": true, \"engines\": ["
                 "{\"engine\": \"io_uring\", \"engine_reason\": \"asked for\"},"
                 "{\"engine\": \"aio\", \"engine_reason\": \"no memory\"}]}}",
                 "\nengine:         io_uring, thread 0 (asked for)"
                 "\nengine:         aio, thread 1 (io_uring was asked for: no memory)\nsocket:");
}

static void closed_image_has_the_engine_that_it_will_get(void **state)
{
    expect_shown("{\"engine\": \"aio\", \"image\": {\"type\": \"file\"}}",
                 "\nengine:         aio, when the image is open\n");
}

static void write_cache_is_shown_with_who_has_made_it_so(void **state)
{
    static const struct {
        const char *members;
        const char *line;
    } cases[] = {
        {"\"write_cache\": \"writeback\", \"write_cache_by\": \"default\", \"config_wce\": \"off\"",
         "writeback\n"},
        {"\"write_cache\": \"writeback\", \"write_cache_by\": \"default\", \"config_wce\": \"on\"",
         "writeback, the guest may switch it\n"},
        {"\"write_cache\": \"writeback\", \"write_cache_by\": \"default\", \"config_wce\": \"on\","
         "\"features\": 512", /* FLUSH alone */
         "writeback\n"},
        {"\"write_cache\": \"writethrough\", \"write_cache_by\": \"guest\"",
         "writethrough, switched by the guest\n"},
        {"\"write_cache\": \"writethrough\", \"write_cache_by\": \"cache\"",
         "writethrough, for --cache\n"},
        {"\"write_cache\": \"writethrough\", \"write_cache_by\": \"unknown\"",
         "writethrough until the guest flushes, as it may have switched\n"},
        {"\"write_cache\": \"writethrough\", \"write_cache_by\": \"no_flush\"",
         "writethrough, the guest knows no flushes\n"},
    };
    char json[256];
    char line[128];

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        (void)snprintf(json, sizeof(json), "{\"size\": 4096, %s}", cases[i].members);
        (void)snprintf(line, sizeof(line), "\nwrite cache:    %s", cases[i].line);
        expect_shown(json, line);
    }
}

static void limits_are_shown_with_what_they_are_of(void **state)
{
    expect_shown("{\"size\": 4096, \"seg_max\": 126, \"size_max\": 0}",
                 "\nsegments:       up to 126 in a request\n");
    expect_shown("{\"size\": 4096, \"seg_max\": 1, \"size_max\": 65536}",
                 "\nsegments:       up to 1 in a request, each up to 65536 bytes\n");
    expect_shown("{\"size\": 4096, \"max_discard\": 1048576, \"max_discard_segments\": 7,"
                 "\"max_write_zeroes\": 4096, \"max_write_zeroes_segments\": 256}",
                 "\nranges at once: discards 7 of up to 1M; zeroes 256 of up to 4K\n");
    expect_shown("{\"size\": 4096, \"max_discard\": 0, \"max_discard_segments\": 0,"
                 "\"max_write_zeroes\": 4096, \"max_write_zeroes_segments\": 1}",
                 "\nranges at once: zeroes 1 of up to 4K\n");
}

/* Its image is not open yet. */
static void disk_that_is_being_added_has_no_size(void **state)
{
    static const char disk[] = "{\"name\": \"vda\", \"state\": \"opening\", \"size\": null}";
    char list[sizeof(disk) + 32];

    (void)snprintf(list, sizeof(list), "{\"disks\": [%s]}", disk);
    expect_printed(list_show, list, "\nvda   opening     -  -          0/0");
    expect_shown(disk, "\nsize:           -\n");
}

static void warnings_are_shown_with_the_state(void **state)
{
    expect_shown("{\"state\": \"running\", \"warnings\": ["
                 "{\"code\": \"flush_failed\", \"text\": \"a flush failed\"},"
                 "{\"code\": \"image_deleted\", \"text\": \"it is gone\"}]}",
                 "\nstate:          running\nwarning:        a flush failed"
                 "\nwarning:        it is gone\nsize:");
}

static void warnings_follow_the_list_with_the_names_of_disks(void **state)
{
    expect_printed(list_show,
                   "{\"disks\": [{\"name\": \"a\", \"state\": \"running\", \"warnings\": []},"
                   "{\"name\": \"the-other-disk1\", \"state\": \"running\", \"warnings\":"
                   "[{\"code\": \"flush_failed\", \"text\": \"a flush failed\"}]}]}",
                   "\nthe-other-disk1: a flush failed\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_with_one_engine_have_one_line),
        cmocka_unit_test(engine_of_each_thread_is_shown_where_they_differ),
        cmocka_unit_test(engine_that_was_not_asked_for_is_shown_with_its_threads),
        cmocka_unit_test(closed_image_has_the_engine_that_it_will_get),
        cmocka_unit_test(write_cache_is_shown_with_who_has_made_it_so),
        cmocka_unit_test(limits_are_shown_with_what_they_are_of),
        cmocka_unit_test(disk_that_is_being_added_has_no_size),
        cmocka_unit_test(warnings_are_shown_with_the_state),
        cmocka_unit_test(warnings_follow_the_list_with_the_names_of_disks),
    };

    return unit_run(tests);
}
