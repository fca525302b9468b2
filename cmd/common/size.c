/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/common/size.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/base/base.h"

static const char units[] = "KMGTP";

/* The shift for what follows the number, or what size_parse returns. */
static int parse_unit(const char *text)
{
    const char *unit;

    if (*text == '\0') {
        return 0;
    }
    unit = strchr(units, toupper((unsigned char)*text));
    if (unit && strcasecmp(text + 1, "B") == 0) {
        return -EDOM;
    }
    if (!unit || (text[1] != '\0' && strcasecmp(text + 1, "iB") != 0)) {
        return -EINVAL;
    }
    return 10 * (int)(unit - units + 1);
}

/* Digits as a number; at most 19, which fit. */
static int parse_digits(const char **text, uint64_t *value, unsigned *count)
{
    *value = 0;
    for (*count = 0; isdigit((unsigned char)**text); (*text)++, (*count)++) {
        if (*count == 19) {
            return -ERANGE;
        }
        *value = *value * 10 + (uint64_t)(**text - '0');
    }
    return 0;
}

/* `fraction` / 10^digits of 1 << shift, which must be whole. */
static int parse_fraction(const char **text, uint64_t *fraction, uint64_t *divisor)
{
    unsigned digits;
    int ret;

    *fraction = 0;
    *divisor = 1;
    if (**text != '.') {
        return 0;
    }
    (*text)++;
    ret = parse_digits(text, fraction, &digits);
    if (ret < 0 || digits == 0 || digits > 9) {
        return -EINVAL;
    }
    while (digits-- > 0) {
        *divisor *= 10;
    }
    return 0;
}

/* 9 digits times 50 bits fit 128 bits, not 64. */
__extension__ typedef unsigned __int128 wide;

int size_parse(const char *text, uint64_t *bytes)
{
    uint64_t whole;
    uint64_t fraction;
    uint64_t divisor;
    unsigned digits;
    wide total;
    int shift;
    int ret = parse_digits(&text, &whole, &digits);

    if (ret < 0 || digits == 0) {
        return ret < 0 ? ret : -EINVAL;
    }
    ret = parse_fraction(&text, &fraction, &divisor);
    shift = ret < 0 ? ret : parse_unit(text);
    if (shift < 0) {
        return shift;
    }
    if ((((wide)fraction << shift) % divisor) != 0) {
        return -EINVAL;
    }
    total = ((wide)whole << shift) + ((wide)fraction << shift) / divisor;
    if (total > INT64_MAX) {
        return -ERANGE;
    }
    *bytes = (uint64_t)total;
    return 0;
}

const char *size_problem(int ret)
{
    switch (ret) {
    case -ERANGE:
        return "too large for a size";
    case -EDOM:
        return "ambiguous: K, M, G, T and P are powers of 1024; leave out the B, write iB, or all "
               "digits";
    default:
        return "no size, such as 10G, 512M or 4096";
    }
}

bool seconds_parse(const char *text, uint64_t *time_ns)
{
    uint64_t whole;
    uint64_t nanoseconds = 0;
    uint64_t unit = NS_PER_S / 10;
    unsigned digits;

    if (parse_digits(&text, &whole, &digits) < 0 || digits > 9 || (digits == 0 && *text != '.')) {
        return false;
    }
    if (*text == '.' && !isdigit((unsigned char)*++text)) {
        return false;
    }
    for (; isdigit((unsigned char)*text); text++, unit /= 10) {
        nanoseconds += unit * (uint64_t)(*text - '0');
    }
    if (*text != '\0') {
        return false;
    }
    *time_ns = whole * NS_PER_S + nanoseconds;
    return true;
}

const char *size_format(uint64_t bytes, char text[SIZE_TEXT_BYTES])
{
    unsigned unit = 0;
    uint64_t tenths;

    while (unit + 1 < sizeof(units) && bytes >> (10 * (unit + 1)) != 0) {
        unit++;
    }
    if (unit == 0) {
        (void)snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64, bytes);
        return text;
    }
    /* The lowest ten bits below the unit are enough to round by. */
    tenths = ((bytes >> (10 * (unit - 1))) * 10 + 512) >> 10;
    if (tenths % 10 == 0) {
        (void)snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 "%c", tenths / 10, units[unit - 1]);
    } else {
        (void)snprintf(text, SIZE_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10,
                       units[unit - 1]);
    }
    return text;
}
