/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/aml.h"

#include <assert.h>

#define OP_NAME 0x08
#define OP_DWORD 0x0c
#define OP_STRING 0x0d
#define OP_SCOPE 0x10
#define OP_BUFFER 0x11
#define OP_PACKAGE 0x12
#define OP_EXT 0x5b
#define OP_EXT_DEVICE 0x82

/* A package length always takes these bytes here: 4 + 8 + 8 bits. */
#define LENGTH_BYTES 3u

/* The length of a resource buffer, as a DWORD constant. */
#define BUFFER_SIZE_BYTES 5u

void aml_init(struct aml *aml, void *to, size_t room)
{
    *aml = (struct aml){.to = to, .room = room};
}

void aml_bytes(struct aml *aml, const void *bytes, size_t len)
{
    assert(range_ok(aml->len, len, aml->room));
    memcpy(aml->to + aml->len, bytes, len);
    aml->len += len;
}

static void put8(struct aml *aml, uint8_t value)
{
    aml_bytes(aml, &value, 1);
}

static void put16(struct aml *aml, uint16_t value)
{
    aml_bytes(aml, &value, 2);
}

static void put32(struct aml *aml, uint32_t value)
{
    aml_bytes(aml, &value, 4);
}

static void put_name(struct aml *aml, const char *name)
{
    assert(strlen(name) == 4);
    aml_bytes(aml, name, 4);
}

/* Source: ACPI 6.5, 20.2.4 "Package Length Encoding": it counts itself. */
static size_t length_begin(struct aml *aml)
{
    size_t begin = aml->len;

    aml_bytes(aml, "\0\0\0", LENGTH_BYTES);
    return begin;
}

void aml_end(struct aml *aml, size_t begin)
{
    size_t len = aml->len - begin;

    aml->to[begin] = (uint8_t)((LENGTH_BYTES - 1) << 6 | (len & 15));
    aml->to[begin + 1] = (uint8_t)(len >> 4);
    aml->to[begin + 2] = (uint8_t)(len >> 12);
}

size_t aml_scope_begin(struct aml *aml, const char *name)
{
    size_t begin;

    put8(aml, OP_SCOPE);
    begin = length_begin(aml);
    put_name(aml, name);
    return begin;
}

size_t aml_device_begin(struct aml *aml, const char *name)
{
    size_t begin;

    put8(aml, OP_EXT);
    put8(aml, OP_EXT_DEVICE);
    begin = length_begin(aml);
    put_name(aml, name);
    return begin;
}

size_t aml_package_begin(struct aml *aml, uint8_t elements)
{
    size_t begin;

    put8(aml, OP_PACKAGE);
    begin = length_begin(aml);
    put8(aml, elements);
    return begin;
}

void aml_name(struct aml *aml, const char *name)
{
    put8(aml, OP_NAME);
    put_name(aml, name);
}

void aml_number(struct aml *aml, uint32_t value)
{
    put8(aml, OP_DWORD);
    put32(aml, value);
}

void aml_text(struct aml *aml, const char *text)
{
    put8(aml, OP_STRING);
    aml_bytes(aml, text, strlen(text) + 1);
}

static uint32_t hex(char digit)
{
    return (uint32_t)(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

/* Source: ACPI 6.5, 19.3.4 "ASL Macros", EISAID: three letters of five bits, four digits. */
void aml_eisa_id(struct aml *aml, const char *id)
{
    uint32_t value = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
                     (uint32_t)(id[2] - 0x40) << 16 | hex(id[3]) << 12 | hex(id[4]) << 8 |
                     hex(id[5]) << 4 | hex(id[6]);

    aml_number(aml, __builtin_bswap32(value));
}

size_t aml_resources_begin(struct aml *aml)
{
    size_t begin;

    put8(aml, OP_BUFFER);
    begin = length_begin(aml);
    aml_number(aml, 0);
    return begin;
}

/* Source: ACPI 6.5, 6.4.2.8 "End Tag": a checksum of 0 counts as right. */
void aml_resources_end(struct aml *aml, size_t begin)
{
    uint32_t size;

    put8(aml, 0x79);
    put8(aml, 0);
    size = (uint32_t)(aml->len - begin - LENGTH_BYTES - BUFFER_SIZE_BYTES);
    memcpy(aml->to + begin + LENGTH_BYTES + 1, &size, sizeof(size));
    aml_end(aml, begin);
}

/* Source: ACPI 6.5, 6.4.3.5.3 "Word Address Space Descriptor". */
static void word_window(struct aml *aml, uint8_t type, uint8_t flags, uint16_t min, uint16_t max)
{
    put8(aml, 0x88);
    put16(aml, 13);
    put8(aml, type);
    put8(aml, 0x0c); /* both ends fixed, passed on */
    put8(aml, flags);
    put16(aml, 0);
    put16(aml, min);
    put16(aml, max);
    put16(aml, 0);
    put16(aml, (uint16_t)(max - min + 1));
}

void aml_bus_numbers(struct aml *aml, uint16_t min, uint16_t max)
{
    word_window(aml, 2, 0, min, max);
}

void aml_port_window(struct aml *aml, uint16_t min, uint16_t max)
{
    word_window(aml, 1, 3 /* all of it */, min, max);
}

/* Source: ACPI 6.5, 6.4.3.5.2 "DWord Address Space Descriptor". */
void aml_memory_window(struct aml *aml, uint32_t min, uint32_t max)
{
    put8(aml, 0x87);
    put16(aml, 23);
    put8(aml, 0);
    put8(aml, 0x0c);
    put8(aml, 1); /* written to, not cached */
    put32(aml, 0);
    put32(aml, min);
    put32(aml, max);
    put32(aml, 0);
    put32(aml, max - min + 1);
}

/* Source: ACPI 6.5, 6.4.2.5 "I/O Port Descriptor". */
void aml_ports(struct aml *aml, uint16_t first, uint8_t count)
{
    put8(aml, 0x47);
    put8(aml, 1); /* 16 bits decoded */
    put16(aml, first);
    put16(aml, first);
    put8(aml, 1);
    put8(aml, count);
}

/* Source: ACPI 6.5, 6.4.3.4 "32-Bit Fixed Memory Range Descriptor". */
void aml_memory(struct aml *aml, uint32_t addr, uint32_t len)
{
    put8(aml, 0x86);
    put16(aml, 9);
    put8(aml, 1); /* may be written */
    put32(aml, addr);
    put32(aml, len);
}

/* Source: ACPI 6.5, 6.4.3.6 "Extended Interrupt Descriptor": consumer, edge, high, its own. */
void aml_edge_interrupt(struct aml *aml, uint32_t gsi)
{
    put8(aml, 0x89);
    put16(aml, 6);
    put8(aml, 0x03);
    put8(aml, 1);
    put32(aml, gsi);
}
