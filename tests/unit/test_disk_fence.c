/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "daemon/disk_fence.h"

#define BOOT "30a4ee05-2b3b-4c5f-9a5e-6e0b7e0a4f7e"

static uint64_t fence_of(const char *boot, dev_t dev, ino_t ino, const char *name)
{
    const struct stat st = {.st_dev = dev, .st_ino = ino};

    return disk_fence(boot, &st, name);
}

static void disk_has_its_number_again(void **state)
{
    (void)state;
    assert_int_equal(fence_of(BOOT, 7, 100, "vda"), fence_of(BOOT, 7, 100, "vda"));
}

static void no_other_disk_daemon_or_host_has_it(void **state)
{
    const uint64_t own = fence_of(BOOT, 7, 100, "vda");

    (void)state;
    assert_int_not_equal(own, fence_of(BOOT, 7, 100, "vdb"));
    assert_int_not_equal(own, fence_of(BOOT, 7, 101, "vda"));
    assert_int_not_equal(own, fence_of(BOOT, 8, 100, "vda"));
    assert_int_not_equal(own, fence_of("", 7, 100, "vda"));
    assert_int_not_equal(fence_of(BOOT, 71, 100, "vda"), fence_of(BOOT, 7, 1100, "vda"));
}

/* By the bits that image_fence.c takes. */
static void names_in_a_row_have_numbers_apart(void **state)
{
    enum { NAMES = 2000 };
    static uint64_t seen[NAMES];
    char name[16];

    (void)state;
    for (unsigned i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof(name), "disk%u", i);
        seen[i] = fence_of(BOOT, 7, 100, name) & ((1ull << 61) - 1);
        for (unsigned j = 0; j < i; j++) {
            assert_int_not_equal(seen[i], seen[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_has_its_number_again),
        cmocka_unit_test(no_other_disk_daemon_or_host_has_it),
        cmocka_unit_test(names_in_a_row_have_numbers_apart),
    };

    return unit_run(tests);
}
