/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts of one CPU: IDT, local APIC, IOAPIC; the 8259s are silenced.
 * Source: Intel SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)";
 * Intel 82093AA data sheet (IOAPIC).
 */
#include "tests/guest/bare/bare.h"

#define LAPIC 0xfee00000u
#define LAPIC_ID (LAPIC + 0x20)
#define LAPIC_TPR (LAPIC + 0x80)
#define LAPIC_EOI (LAPIC + 0xb0)
#define LAPIC_SVR (LAPIC + 0xf0)
#define LAPIC_LINT0 (LAPIC + 0x350)
#define LAPIC_MASKED 0x10000u
#define LAPIC_ENABLE 0x100u
#define IOAPIC 0xfec00000u
#define IOAPIC_LEVEL 0x8000u
#define EXCEPTIONS 32u
#define STUB_BYTES 16u
#define INTERRUPT_GATE 0x8eu
#define CODE_SEGMENT 0x10u

struct gate {
    uint16_t offset_low;
    uint16_t segment;
    uint8_t stack;
    uint8_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t zero;
};

extern const uint8_t irq_stubs[];
void irq_handle(uint64_t vector, uint64_t code, uint64_t where);

volatile uint64_t irq_count[256];
void (*irq_line_ack)(void);

static struct gate idt[256];
static volatile uint64_t irq_total;

void irq_handle(uint64_t vector, uint64_t code, uint64_t where)
{
    if (vector < EXCEPTIONS) {
        print("exception at ");
        print_hex(where);
        print(" code ");
        print_hex(code);
        print("\n");
        fail("exception", (int64_t)vector);
    }
    irq_count[vector]++;
    irq_total++;
    if (vector == VECTOR_LINE && irq_line_ack) {
        irq_line_ack();
    }
    if (vector != VECTOR_SPURIOUS) {
        reg_write32(LAPIC_EOI, 0);
    }
}

static void fill_idt(void)
{
    struct {
        uint16_t size;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(idt) - 1, (uintptr_t)idt};

    for (unsigned i = 0; i < ARRAY_SIZE(idt); i++) {
        uint64_t stub = (uintptr_t)irq_stubs + (uint64_t)STUB_BYTES * i;

        idt[i] = (struct gate){.offset_low = (uint16_t)stub,
                               .segment = CODE_SEGMENT,
                               .type = INTERRUPT_GATE,
                               .offset_middle = (uint16_t)(stub >> 16),
                               .offset_high = (uint32_t)(stub >> 32)};
    }
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void irq_init(void)
{
    fill_idt();
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    reg_write32(LAPIC_SVR, LAPIC_ENABLE | VECTOR_SPURIOUS);
    reg_write32(LAPIC_LINT0, LAPIC_MASKED);
    reg_write32(LAPIC_TPR, 0);
    __asm__ volatile("sti");
}

static void ioapic_write(uint32_t index, uint32_t value)
{
    reg_write32(IOAPIC, index);
    reg_write32(IOAPIC + 0x10, value);
}

void irq_line_on(unsigned gsi, bool is_level)
{
    ioapic_write(0x10 + 2 * gsi + 1, reg_read32(LAPIC_ID) & 0xff000000u);
    ioapic_write(0x10 + 2 * gsi, VECTOR_LINE | (is_level ? IOAPIC_LEVEL : 0));
}

uint64_t irq_msi_address(void)
{
    return LAPIC | (reg_read32(LAPIC_ID) >> 24) << 12;
}

/* An interrupt between the look and the hlt ends the hlt: sti holds for one instruction more. */
void irq_wait(void)
{
    static uint64_t seen;

    __asm__ volatile("cli" : : : "memory");
    if (irq_total == seen) {
        __asm__ volatile("sti; hlt" : : : "memory");
    } else {
        __asm__ volatile("sti" : : : "memory");
    }
    seen = irq_total;
}

/* About: the counter's rate is taken for 1 GHz, so time-outs come early on a fast machine. */
uint64_t clock_ms(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return ((uint64_t)high << 32 | low) >> 20;
}
