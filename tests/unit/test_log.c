/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/log.h"

/* Standard error goes to a memfd while a test looks at it. */
struct capture {
    int saved_fd;
    int fd;
    char text[8192];
};

static int capture_start(void **state)
{
    static struct capture capture;

    capture.fd = memfd_create("stderr", MFD_CLOEXEC);
    capture.saved_fd = dup(STDERR_FILENO);
    assert(capture.fd >= 0 && capture.saved_fd >= 0);
    dup2(capture.fd, STDERR_FILENO);
    log_set_level(LOG_LEVEL_INFO);
    *state = &capture;
    return 0;
}

static int capture_stop(void **state)
{
    struct capture *capture = *state;

    dup2(capture->saved_fd, STDERR_FILENO);
    close(capture->saved_fd);
    close(capture->fd);
    return 0;
}

/* What was logged until now. */
static const char *logged(struct capture *capture)
{
    ssize_t len = pread(capture->fd, capture->text, sizeof(capture->text) - 1, 0);

    assert(len >= 0);
    capture->text[len] = '\0';
    return capture->text;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;

    for (; *text; text++) {
        lines += *text == '\n';
    }
    return lines;
}

static void line_holds_its_text_and_ends(void **state)
{
    log_info("vda: ring %d: hello", 3);

    const char *text = logged(*state);

    assert_non_null(strstr(text, "vda: ring 3: hello\n"));
    assert_int_equal(count_lines(text), 1);
}

static void lines_above_the_level_are_left_out(void **state)
{
    log_debug("not this");
    log_info("this");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("nor this");
    log_error("and this");

    const char *text = logged(*state);

    assert_int_equal(count_lines(text), 2);
    assert_null(strstr(text, "not this"));
    assert_null(strstr(text, "nor this"));
}

static void plain_line_has_neither_program_nor_level(void **state)
{
    log_set_level(LOG_LEVEL_ERROR);
    log_plain("exits %d", 3);
    assert_string_equal(logged(*state), "exits 3\n");
}

static void long_line_is_cut_and_still_one_line(void **state)
{
    char long_text[5000];

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    log_info("%s", long_text);
    assert_int_equal(count_lines(logged(*state)), 1);
}

static void newline_in_a_peers_text_makes_no_second_line(void **state)
{
    log_info("peer says %s", "a\nerror: all is lost");
    assert_string_equal(logged(*state), "vblkd: info: peer says a\\x0aerror: all is lost\n");
}

static void control_characters_do_not_get_into_the_log(void **state)
{
    log_info("%s", "\033[2J \xc2\x9b"
                   "2J \x9b"
                   "2J");
    log_plain("%s", "\a");
    assert_string_equal(logged(*state), "vblkd: info: \\x1b[2J \\u009b2J \\x9b2J\n\\x07\n");
}

static void levels_are_parsed_by_name(void **state)
{
    enum log_level level = LOG_LEVEL_DEBUG;

    assert_true(log_parse_level("error", &level));
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_true(log_parse_level("warn", &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_true(log_parse_level("info", &level));
    assert_int_equal(level, LOG_LEVEL_INFO);
    assert_true(log_parse_level("debug", &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
}

static void other_level_names_are_refused(void **state)
{
    enum log_level level;

    assert_false(log_parse_level("", &level));
    assert_false(log_parse_level("Error", &level));
    assert_false(log_parse_level("info ", &level));
}

static void limit_lets_the_first_lines_pass(void **state)
{
    struct log_limit limit = {0};

    for (unsigned i = 0; i < 100; i++) {
        log_limited(&limit, LOG_LEVEL_WARN, "again");
    }
    assert_int_equal(count_lines(logged(*state)), LOG_LIMIT_LINES);
    assert_int_equal(limit.suppressed, 100 - LOG_LIMIT_LINES);
}

static void next_window_says_how_many_were_left_out(void **state)
{
    struct log_limit limit = {0};

    for (unsigned i = 0; i < LOG_LIMIT_LINES + 7; i++) {
        log_limited(&limit, LOG_LEVEL_WARN, "again");
    }
    limit.window_start_ns -= (LOG_LIMIT_WINDOW_MS + 1) * NS_PER_MS;
    log_limited(&limit, LOG_LEVEL_WARN, "once more");

    const char *text = logged(*state);

    assert_non_null(strstr(text, "once more"));
    assert_non_null(strstr(text, "7"));
    assert_int_equal(limit.suppressed, 0);
}

static void limits_do_not_share_their_count(void **state)
{
    struct log_limit first = {0};
    struct log_limit second = {0};

    for (unsigned i = 0; i < LOG_LIMIT_LINES + 1; i++) {
        log_limited(&first, LOG_LEVEL_WARN, "first");
    }
    log_limited(&second, LOG_LEVEL_WARN, "second");
    assert_non_null(strstr(logged(*state), "second"));
}

#define captured(test) cmocka_unit_test_setup_teardown(test, capture_start, capture_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        captured(line_holds_its_text_and_ends),
        captured(lines_above_the_level_are_left_out),
        captured(plain_line_has_neither_program_nor_level),
        captured(long_line_is_cut_and_still_one_line),
        captured(newline_in_a_peers_text_makes_no_second_line),
        captured(control_characters_do_not_get_into_the_log),
        captured(levels_are_parsed_by_name),
        captured(other_level_names_are_refused),
        captured(limit_lets_the_first_lines_pass),
        captured(next_window_says_how_many_were_left_out),
        captured(limits_do_not_share_their_count),
    };

    return unit_run(tests);
}
