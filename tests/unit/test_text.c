/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <string.h>

#include "core/base/text.h"

static void expect_shown(const char *text, const char *shown)
{
    char out[256];

    assert_string_equal(text_safe(text, out, sizeof(out)), shown);
    assert_int_equal(text_escape(out, sizeof(out), text, strlen(text)), strlen(shown));
}

static void ordinary_text_stays(void **state)
{
    expect_shown("", "");
    expect_shown("/srv/vda.img: No such file, 100 %", "/srv/vda.img: No such file, 100 %");
    expect_shown("back\\slash ~", "back\\slash ~");
    expect_shown("Gr\xc3\xb6\xc3\x9f"
                 "e \xe2\x82\xac \xe7\xa3\x81\xe7\x9b\x98 \xf0\x9f\x92\xbe",
                 "Gr\xc3\xb6\xc3\x9f"
                 "e \xe2\x82\xac \xe7\xa3\x81\xe7\x9b\x98 \xf0\x9f\x92\xbe");
}

static void control_characters_are_shown_by_number(void **state)
{
    expect_shown("a\033[31mb", "a\\x1b[31mb");
    expect_shown("a\ab\nc\rd\te\177", "a\\x07b\\x0ac\\x0dd\\x09e\\x7f");
}

static void every_byte_alone_is_printable(void **state)
{
    for (unsigned byte = 1; byte < 256; byte++) {
        const char text[] = {(char)byte, '\0'};
        char out[8];

        text_safe(text, out, sizeof(out));
        if (byte >= 0x20 && byte < 0x7f) {
            assert_string_equal(out, text);
        } else {
            assert_int_equal(strlen(out), TEXT_ESCAPE_MAX);
        }
    }
}

static void controls_beyond_ascii_are_shown_by_number(void **state)
{
    expect_shown("a\xc2\x9b"
                 "31m\xc2\x80\xc2\x9f.",
                 "a\\u009b31m\\u0080\\u009f.");
    expect_shown("\xc2\xa0\xc3\xbf", "\xc2\xa0\xc3\xbf"); /* the first that are none */
}

/* A terminal that is not set to UTF-8 takes 0x9b for the same as ESC [. */
static void bytes_that_are_no_utf8_are_shown_by_number(void **state)
{
    expect_shown("a\x9b"
                 "31m",
                 "a\\x9b31m");
    expect_shown("caf\xe9 x", "caf\\xe9 x");                  /* Latin 1 */
    expect_shown("\xc0\x9b", "\\xc0\\x9b");                   /* longer than need be */
    expect_shown("\xe0\x82\x9b", "\\xe0\\x82\\x9b");          /* likewise */
    expect_shown("\xf0\x80\x82\x9b", "\\xf0\\x80\\x82\\x9b"); /* likewise */
    expect_shown("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* half of UTF-16 */
    expect_shown("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* past the last */
    expect_shown("\xe2\x82", "\\xe2\\x82");                   /* not all of it */
    expect_shown("\xe2\x82\033", "\\xe2\\x82\\x1b");
}

static void what_turns_the_direction_is_shown_by_number(void **state)
{
    expect_shown("vda\xe2\x80\xaegmi.", "vda\\u202egmi.");
    expect_shown("\xe2\x80\xaa\xe2\x81\xa6\xe2\x81\xa9", "\\u202a\\u2066\\u2069");
    expect_shown("\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029");
    expect_shown("\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
                 "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"); /* Hebrew */
}

static void long_text_is_cut_between_characters(void **state)
{
    char out[8];

    assert_int_equal(text_escape(out, sizeof(out), "abcdefghij", 10), 7);
    assert_string_equal(out, "abcdefg");
    assert_int_equal(text_escape(out, sizeof(out), "abcdef\033", 7), 6);
    assert_string_equal(out, "abcdef");
    assert_int_equal(text_escape(out, sizeof(out), "abcdef\xc3\xb6", 8), 6);
    assert_string_equal(out, "abcdef");
    assert_int_equal(text_escape(out, 1, "a", 1), 0);
    assert_string_equal(out, "");
}

static void length_is_a_limit_and_zero_an_end(void **state)
{
    char out[16];

    assert_int_equal(text_escape(out, sizeof(out), "abc", 2), 2);
    assert_int_equal(text_escape(out, sizeof(out), "\xc3\xb6", 1), 4);
    assert_string_equal(out, "\\xc3");
    assert_int_equal(text_escape(out, sizeof(out), "ab\0cd", 5), 2);
}

static void text_is_utf8_or_not(void **state)
{
    assert_true(text_is_utf8(""));
    assert_true(text_is_utf8("/srv/Gr\xc3\xb6\xc3\x9f"
                             "e\033\xe2\x82\xac\xf0\x9f\x92\xbe"));
    assert_false(text_is_utf8("/srv/\xff"));
    assert_false(text_is_utf8("cut \xc3"));
    assert_false(text_is_utf8("long \xc0\xaf"));
    assert_false(text_is_utf8("half \xed\xa0\x80"));
    assert_false(text_is_utf8("beyond \xf4\x90\x80\x80"));
}

static void assert_quoted(const char *path, const char *expected)
{
    char quoted[TEXT_QUOTED_BYTES];

    assert_string_equal(text_quote(path, quoted), expected);
}

static void paths_in_commands_are_quoted_where_a_shell_wants_it(void **state)
{
    char path[2 * TEXT_QUOTED_BYTES];

    assert_quoted("/srv/vm-1/vda_0.img", "/srv/vm-1/vda_0.img");
    assert_quoted("/srv/my disk.img", "'/srv/my disk.img'");
    assert_quoted("/srv/it's", "'/srv/it'\\''s'");
    assert_quoted("$(reboot);`x`&", "'$(reboot);`x`&'");
    assert_quoted("a\nb's \\", "$'a\\x0ab\\'s \\\\'");
    assert_quoted("\xff", "$'\\xff'");
    assert_quoted("\xc2\x9b", "$'\\xc2\\x9b'");
    assert_quoted("~/x", "'~/x'");
    assert_quoted("/Gr\xc3\xb6\xc3\x9f", "'/Gr\xc3\xb6\xc3\x9f'");
    assert_quoted("", "''");
    for (size_t len = TEXT_QUOTED_BYTES - 10; len < TEXT_QUOTED_BYTES + 10; len++) {
        char quoted[TEXT_QUOTED_BYTES];

        for (unsigned i = 0; i < 3; i++) {
            memset(path, "a' "[i], len);
            path[len] = '\0';
            (void)text_quote(path, quoted);
            assert_true(strcmp(quoted, "PATH") == 0 ||
                        (i != 1 && strlen(quoted) == len + (i == 2 ? 2 : 0)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_text_stays),
        cmocka_unit_test(control_characters_are_shown_by_number),
        cmocka_unit_test(every_byte_alone_is_printable),
        cmocka_unit_test(controls_beyond_ascii_are_shown_by_number),
        cmocka_unit_test(bytes_that_are_no_utf8_are_shown_by_number),
        cmocka_unit_test(what_turns_the_direction_is_shown_by_number),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(length_is_a_limit_and_zero_an_end),
        cmocka_unit_test(text_is_utf8_or_not),
        cmocka_unit_test(paths_in_commands_are_quoted_where_a_shell_wants_it),
    };

    return unit_run(tests);
}
