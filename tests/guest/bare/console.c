/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/guest/bare/bare.h"

#define SERIAL 0x3f8
#define SERIAL_STATUS (SERIAL + 5)
#define SERIAL_CAN_PUT 0x20

/* Called by code that the compiler makes as well. */
void *memset(void *to, int value, size_t len)
{
    uint8_t *bytes = to;

    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)value;
        __asm__ volatile("" : : : "memory"); /* or this loop becomes a call of itself */
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
    uint8_t *out = to;
    const uint8_t *in = from;

    for (size_t i = 0; i < len; i++) {
        out[i] = in[i];
        __asm__ volatile("" : : : "memory");
    }
    return to;
}

static void put(char c)
{
    for (unsigned i = 0; i < 100000 && !(in8(SERIAL_STATUS) & SERIAL_CAN_PUT); i++) {
    }
    out8(SERIAL, (uint8_t)c);
}

void print(const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            put('\r');
        }
        put(*text);
    }
}

static void print_base(uint64_t value, unsigned base)
{
    char text[24];
    unsigned at = sizeof(text) - 1;

    text[at] = '\0';
    do {
        text[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    print(text + at);
}

void print_number(uint64_t value)
{
    print_base(value, 10);
}

void print_hex(uint64_t value)
{
    print("0x");
    print_base(value, 16);
}

void print_value(const char *name, uint64_t value)
{
    print(" ");
    print(name);
    print("=");
    print_number(value);
}

/* The ways out, until one works: ACPI S5 of vblkvm and QEMU's pc, keyboard reset, triple fault. */
void power_off(void)
{
    const struct {
        uint16_t size;
        uint64_t base;
    } __attribute__((packed)) nothing = {0};

    out16(0x604, 0x2000);
    for (unsigned i = 0; i < 1000; i++) {
        __asm__ volatile("pause");
    }
    out8(0x64, 0xfe);
    for (unsigned i = 0; i < 1000; i++) {
        __asm__ volatile("pause");
    }
    __asm__ volatile("lidt %0; ud2" : : "m"(nothing));
    __builtin_unreachable();
}

void fail(const char *why, int64_t value)
{
    print("BARE FAIL ");
    print(why);
    print(" (");
    if (value < 0) {
        print("-");
        value = -value;
    }
    print_number((uint64_t)value);
    print(")\n");
    power_off();
}
