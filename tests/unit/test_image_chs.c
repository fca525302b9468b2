/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/block/image_chs.h"

/* An entry of the partition table: what matters of it, and the rest odd. */
static void set_entry(uint8_t *sector, unsigned index, uint8_t head, uint8_t last, uint32_t length)
{
    uint8_t *entry = sector + 446 + 16 * index;

    memset(entry, 0xee, 12);
    entry[5] = head;
    entry[6] = last;
    for (unsigned i = 0; i < 4; i++) {
        entry[12 + i] = (uint8_t)(length >> (8 * i));
    }
}

static void begin_table(uint8_t *sector)
{
    memset(sector, 0, 512);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void assert_chs(const uint8_t *sector, unsigned heads, unsigned sectors)
{
    struct image_chs chs = image_chs_of(sector);

    assert_int_equal(chs.heads, heads);
    assert_int_equal(chs.sectors, sectors);
}

static void geometry_is_where_the_first_partition_ends(void **state)
{
    uint8_t sector[512];

    (void)state;
    begin_table(sector);
    set_entry(sector, 0, 15, 63 | 0xc0, 1000);
    assert_chs(sector, 16, 63);
    begin_table(sector);
    set_entry(sector, 2, 3, 17, 0x01000000);
    set_entry(sector, 3, 15, 63, 1000);
    assert_chs(sector, 4, 17);
}

static void empty_and_impossible_partitions_are_passed_over(void **state)
{
    uint8_t sector[512];

    (void)state;
    begin_table(sector);
    set_entry(sector, 0, 7, 32, 0);
    set_entry(sector, 1, 0, 32, 5);
    set_entry(sector, 2, 7, 0xc0, 5);
    assert_chs(sector, 0, 0);
    set_entry(sector, 3, 7, 32, 5);
    assert_chs(sector, 8, 32);
}

/* 254 is a BIOS's translation, 255 the table of a disk with GPT. */
static void more_than_16_heads_tell_nothing(void **state)
{
    uint8_t sector[512];

    (void)state;
    begin_table(sector);
    set_entry(sector, 1, 15, 63, 1000);
    set_entry(sector, 0, 16, 63, 1000);
    assert_chs(sector, 0, 0);
    set_entry(sector, 0, 254, 63, 1000);
    assert_chs(sector, 0, 0);
    set_entry(sector, 0, 255, 255, UINT32_MAX);
    assert_chs(sector, 0, 0);
}

static void without_a_table_nothing_is_told(void **state)
{
    uint8_t sector[512];

    (void)state;
    begin_table(sector);
    set_entry(sector, 0, 15, 63, 1000);
    sector[511] = 0;
    assert_chs(sector, 0, 0);
}

static void image_is_read(void **state)
{
    int fd = memfd_create("chs", MFD_CLOEXEC);
    uint8_t sector[512];
    struct image_chs chs;

    (void)state;
    begin_table(sector);
    set_entry(sector, 0, 7, 32, 1000);
    assert_int_equal(pwrite(fd, sector, 512, 0), 512);
    chs = image_chs_read(fd, 0, 4096);
    assert_int_equal(chs.heads, 8);
    assert_int_equal(chs.sectors, 32);
    assert_int_equal(ftruncate(fd, 511), 0);
    assert_int_equal(image_chs_read(fd, 0, 512).heads, 0);
    close(fd);
    assert_int_equal(image_chs_read(-1, 0, 512).heads, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(geometry_is_where_the_first_partition_ends),
        cmocka_unit_test(empty_and_impossible_partitions_are_passed_over),
        cmocka_unit_test(more_than_16_heads_tell_nothing),
        cmocka_unit_test(without_a_table_nothing_is_told),
        cmocka_unit_test(image_is_read),
    };

    return unit_run(tests);
}
