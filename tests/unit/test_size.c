/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>

#include "cmd/common/size.h"

#define KIB 1024ull
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

static void assert_size(const char *text, uint64_t bytes)
{
    uint64_t got = 0;

    if (size_parse(text, &got) != 0 || got != bytes) {
        print_error("\"%s\" gave %llu\n", text, (unsigned long long)got);
        fail();
    }
}

static void assert_refused(const char *text, int code)
{
    uint64_t got = 42;

    if (size_parse(text, &got) != code || got != 42) {
        print_error("\"%s\" was not refused as it should\n", text);
        fail();
    }
}

static void plain_numbers_are_bytes(void **state)
{
    assert_size("0", 0);
    assert_size("4096", 4096);
    assert_size("9223372036854774784", INT64_MAX - 1023);
}

static void letters_are_powers_of_1024(void **state)
{
    assert_size("1K", KIB);
    assert_size("512M", 512 * MIB);
    assert_size("10G", 10 * GIB);
    assert_size("2T", 2048 * GIB);
    assert_size("1P", 1024 * 1024 * GIB);
}

static void case_and_suffix_do_not_matter(void **state)
{
    assert_size("10g", 10 * GIB);
    assert_size("64KiB", 64 * KIB);
    assert_size("64kib", 64 * KIB);
}

static void powers_of_1000_are_not_guessed(void **state)
{
    assert_refused("10GB", -EDOM);
    assert_refused("3mb", -EDOM);
    assert_refused("1.5kB", -EDOM);
    assert_string_equal(
        size_problem(-EDOM),
        "ambiguous: K, M, G, T and P are powers of 1024; leave out the B, write iB, "
        "or all digits");
}

static void fractions_come_to_whole_bytes(void **state)
{
    assert_size("1.5G", 1536 * MIB);
    assert_size("0.5K", 512);
    assert_size("1.50M", 1536 * KIB);
    assert_refused("1.1G", -EINVAL);
    assert_refused("0.5", -EINVAL);
    assert_size("3.0", 3);
}

static void garbage_is_refused(void **state)
{
    static const char *const garbage[] = {
        "",      " ",
        "G",     "-1",
        "-1G",   "+1",
        " 1G",   "1G ",
        "1 G",   "1GG",
        "1GiBB", "1iB",
        "0x10",  "1e3",
        "1.G",   ".5G",
        "1..5G", "1.5.5G",
        "10Q",   "ten",
        "1,5G",  "1.0000000001G",
        "4096B", "7b",
        "1GBB",  "1BG",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(garbage); i++) {
        assert_refused(garbage[i], -EINVAL);
    }
}

static void what_does_not_fit_63_bits_is_out_of_range(void **state)
{
    assert_refused("8192P", -ERANGE);
    assert_size("8191P", 8191ull * 1024 * 1024 * GIB);
    assert_refused("9223372036854775808", -ERANGE);
    assert_refused("99999999999999999999999999", -ERANGE);
}

static void assert_text(uint64_t bytes, const char *expected)
{
    char text[SIZE_TEXT_BYTES];

    assert_string_equal(size_format(bytes, text), expected);
}

static void sizes_are_short_for_people(void **state)
{
    assert_text(0, "0");
    assert_text(1000, "1000");
    assert_text(KIB, "1K");
    assert_text(1536, "1.5K");
    assert_text(64 * MIB, "64M");
    assert_text(10 * GIB, "10G");
    assert_text(10 * GIB + 512, "10G");
    assert_text(1536 * GIB, "1.5T");
    assert_text(INT64_MAX, "8192P");
}

static void assert_seconds(const char *text, uint64_t time_ns)
{
    uint64_t got = 0;

    if (!seconds_parse(text, &got) || got != time_ns) {
        print_error("\"%s\" gave %llu\n", text, (unsigned long long)got);
        fail();
    }
}

static void seconds_have_fractions(void **state)
{
    assert_seconds("0", 0);
    assert_seconds("30", 30 * NS_PER_S);
    assert_seconds("0.25", NS_PER_S / 4);
    assert_seconds(".5", NS_PER_S / 2);
    assert_seconds("1.000000001", NS_PER_S + 1);
    assert_seconds("999999999", 999999999 * NS_PER_S);
    assert_seconds("0.010000000000000002", NS_PER_S / 100); /* 0.1 * 0.1 of most languages */
    assert_seconds("0.0000000009", 0);
}

static void other_numbers_are_no_seconds(void **state)
{
    static const char *const garbage[] = {"",    ".",     "1.",   "-1",        "+1",  " 1",
                                          "1 ",  "1s",    "1e3",  "0x10",      "inf", "nan",
                                          "1,5", "1.5.5", "1.5x", "1000000000"};
    uint64_t got = 42;

    for (unsigned i = 0; i < ARRAY_SIZE(garbage); i++) {
        if (seconds_parse(garbage[i], &got) || got != 42) {
            print_error("\"%s\" was not refused\n", garbage[i]);
            fail();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_numbers_are_bytes),
        cmocka_unit_test(letters_are_powers_of_1024),
        cmocka_unit_test(case_and_suffix_do_not_matter),
        cmocka_unit_test(powers_of_1000_are_not_guessed),
        cmocka_unit_test(fractions_come_to_whole_bytes),
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(what_does_not_fit_63_bits_is_out_of_range),
        cmocka_unit_test(sizes_are_short_for_people),
        cmocka_unit_test(seconds_have_fractions),
        cmocka_unit_test(other_numbers_are_no_seconds),
    };

    return unit_run(tests);
}
