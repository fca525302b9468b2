/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A guest without a kernel: what its parts share.  One CPU, general registers only.
 * Where it runs: any VMM with a serial port at 0x3f8, a local APIC and an IOAPIC.
 */

#include "core/base/base.h"
#include "core/driver/blk_driver.h"

#define MAX_QUEUES 8u

/* Vectors: one for each queue, one for config changes, one for an interrupt line. */
#define VECTOR_QUEUE 0x30u
#define VECTOR_CONFIG 0x40u
#define VECTOR_LINE 0x41u
#define VECTOR_SPURIOUS 0xffu

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint16_t in16(uint16_t port)
{
    uint16_t value;

    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

/* Registers in memory: one access of this size, with a plain mov that any VMM decodes. */
static inline void reg_write8(uint64_t addr, uint8_t value)
{
    __asm__ volatile("movb %0, (%1)" : : "r"(value), "r"(addr) : "memory");
}

static inline void reg_write16(uint64_t addr, uint16_t value)
{
    __asm__ volatile("movw %0, (%1)" : : "r"(value), "r"(addr) : "memory");
}

static inline void reg_write32(uint64_t addr, uint32_t value)
{
    __asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(addr) : "memory");
}

static inline uint8_t reg_read8(uint64_t addr)
{
    uint8_t value;

    __asm__ volatile("movb (%1), %0" : "=r"(value) : "r"(addr) : "memory");
    return value;
}

static inline uint16_t reg_read16(uint64_t addr)
{
    uint16_t value;

    __asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(addr) : "memory");
    return value;
}

static inline uint32_t reg_read32(uint64_t addr)
{
    uint32_t value;

    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(addr) : "memory");
    return value;
}

/* console.c */
void print(const char *text);
void print_number(uint64_t value);
void print_hex(uint64_t value);
void print_value(const char *name, uint64_t value); /* " name=value" */

/* Say "BARE FAIL why (value)" and power off. */
void fail(const char *why, int64_t value) __attribute__((noreturn));
void power_off(void) __attribute__((noreturn));

/* options.c: words NAME=VALUE of the kernel's command line. */
void options_init(const char *line);
const char *option_text(const char *name); /* ends at a space or the end; NULL: not given */
const char *option_next(const char *name, const char *value); /* the same name again */
uint64_t option_number(const char *name, uint64_t otherwise);
bool option_is(const char *name, const char *value, bool otherwise);
uint64_t number_of(const char **text); /* decimal or 0x, with K, M or G; moves on */

/* irq.c */
extern volatile uint64_t irq_count[256]; /* by vector */
extern void (*irq_line_ack)(void);       /* takes a level interrupt back at its device */
void irq_init(void);
void irq_line_on(unsigned gsi, bool is_level);
uint64_t irq_msi_address(void);

/* Sleep until the next interrupt; at once when one came since the last call. */
void irq_wait(void);
uint64_t clock_ms(void);

/* The three buses.  Each finds disk number `index` and fills in what it knows. */
struct bare_disk {
    const struct blk_driver_ops *ops;
    void *bus;
    void (*reset_ring)(void *bus, unsigned index); /* NULL: it cannot do that */
    const char *name;
    bool is_legacy;
    bool is_size_fixed;
    bool has_msix;
};

void bus_pci_find(struct bare_disk *disk, unsigned index, bool is_legacy, bool wants_msix);
void bus_mmio_find(struct bare_disk *disk, unsigned index);

uint64_t bus_now_ms(void *bus);
void bus_relax(void *bus);
