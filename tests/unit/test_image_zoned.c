/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "core/block/image_zoned.h"

static void device_that_is_written_in_order_alone_is_none(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(image_zoned_judge("none", "/dev/x", &err), 0);
    assert_int_equal(image_zoned_judge("host-aware", "/dev/x", &err), 0);
    assert_int_equal(image_zoned_judge("", "/dev/x", &err), 0);
    assert_string_equal(err.text, "");
    assert_int_equal(image_zoned_judge("host-managed", "/dev/x", &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "image /dev/x is a zoned device (host-managed)"));
    assert_non_null(strstr(err.text, "dm-zoned"));
}

/* What sysfs does not know, or says nothing of zones about, is a device as any other. */
static void device_without_a_word_of_zones_is_taken(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(image_zoned_check(makedev(0, 0), "/dev/x", &err), 0);
    assert_string_equal(err.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_that_is_written_in_order_alone_is_none),
        cmocka_unit_test(device_without_a_word_of_zones_is_taken),
    };

    return unit_run(tests);
}
