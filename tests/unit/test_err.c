/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "core/base/err.h"

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

static void hint_that_does_not_fit_is_none(void **state)
{
    struct err err;
    char path[sizeof(err.text)];

    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    err_say(&err, -EINVAL, "it is a qcow2 image");
    err_hint(&err, "convert it: qemu-img convert -O raw %s NEW", path);
    assert_string_equal(err.text, "it is a qcow2 image");
    err_hint(&err, "see the page");
    assert_string_equal(err.text, "it is a qcow2 image; see the page");
}

static void name_that_is_there_is_not_said_twice(void **state)
{
    struct err err = {0};

    err_say(&err, -EIO, "/a.sock: it left");
    assert_string_equal(err_text_after(&err, "/a.sock"), "it left");
    assert_string_equal(err_text_after(&err, "/a"), "/a.sock: it left");
    assert_string_equal(err_text_after(&err, "vda"), "/a.sock: it left");
    err_say(&err, -EIO, "/a.sock");
    assert_string_equal(err_text_after(&err, "/a.sock"), "/a.sock");
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
        cmocka_unit_test(hint_that_does_not_fit_is_none),
        cmocka_unit_test(name_that_is_there_is_not_said_twice),
        cmocka_unit_test(names_are_those_of_errno_h),
        cmocka_unit_test(unknown_codes_have_some_name),
    };

    return unit_run(tests);
}
