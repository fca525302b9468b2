/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "core/err.h"

static void set_appends_what_the_system_says(void **state)
{
    struct err err;

    assert_int_equal(err_set(&err, -ENOENT, "cannot open %s", "/x"), -ENOENT);
    assert_int_equal(err.code, -ENOENT);
    assert_string_equal(err.text, "cannot open /x: No such file or directory");
}

static void say_is_only_the_sentence(void **state)
{
    struct err err;

    assert_int_equal(err_say(&err, -EINVAL, "%u is no size", 7u), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "7 is no size");
}

static void hint_follows_a_semicolon(void **state)
{
    struct err err;

    err_say(&err, -EINVAL, "no O_DIRECT");
    err_hint(&err, "use %s", "writeback");
    assert_string_equal(err.text, "no O_DIRECT; use writeback");
    assert_int_equal(err.code, -EINVAL);
}

static void null_takes_everything_and_keeps_the_code(void **state)
{
    assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(err_say(NULL, -EPERM, "x"), -EPERM);
    err_hint(NULL, "x");
}

static void long_texts_are_cut_and_ended(void **state)
{
    struct err err;
    char text[2000];

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memset(&err, 'z', sizeof(err));
    err_set(&err, -EIO, "%s", text);
    assert_int_equal(strnlen(err.text, sizeof(err.text)), sizeof(err.text) - 1);
    err_hint(&err, "%s", text);
    assert_int_equal(strnlen(err.text, sizeof(err.text)), sizeof(err.text) - 1);
}

static void names_are_those_of_errno_h(void **state)
{
    assert_string_equal(err_name(ENOENT), "ENOENT");
    assert_string_equal(err_name(-ENOENT), "ENOENT");
    assert_string_equal(err_name(-ENOSPC), "ENOSPC");
}

static void unknown_codes_have_some_name(void **state)
{
    assert_non_null(err_name(-99999));
    assert_non_null(err_name(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_appends_what_the_system_says),
        cmocka_unit_test(say_is_only_the_sentence),
        cmocka_unit_test(hint_follows_a_semicolon),
        cmocka_unit_test(null_takes_everything_and_keeps_the_code),
        cmocka_unit_test(long_texts_are_cut_and_ended),
        cmocka_unit_test(names_are_those_of_errno_h),
        cmocka_unit_test(unknown_codes_have_some_name),
    };

    return unit_run(tests);
}
