/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "cmd/ctl/show.h"

/* What `show` prints of a disk whose image and settings are as `json` says.  To be freed. */
static char *shown(const char *json)
{
    json_t *disk = json_loads(json, 0, NULL);
    FILE *terminal = stdout;
    char *text = NULL;
    size_t length;

    assert_non_null(disk);
    stdout = open_memstream(&text, &length);
    show_disk(disk, NULL);
    (void)fclose(stdout);
    stdout = terminal;
    json_decref(disk);
    return text;
}

static void expect_shown(const char *json, const char *lines)
{
    char *text = shown(json);

    if (!strstr(text, lines)) {
        print_error("%s", text);
        fail();
    }
    free(text);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_with_one_engine_have_one_line),
        cmocka_unit_test(engine_of_each_thread_is_shown_where_they_differ),
        cmocka_unit_test(engine_that_was_not_asked_for_is_shown_with_its_threads),
        cmocka_unit_test(closed_image_has_the_engine_that_it_will_get),
    };

    return unit_run(tests);
}
