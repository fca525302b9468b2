/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Where things are in the guest's machine, in one place: memory, ports, interrupts.
 */

/* Guest addresses below 1 MiB; boot.c fills them, a guest may overwrite them once it runs. */
#define LAYOUT_GDT 0x500u
#define LAYOUT_BOOT_PARAMS 0x7000u
#define LAYOUT_PAGE_TABLES 0x9000u /* six pages */
#define LAYOUT_COMMAND_LINE 0x20000u
#define LAYOUT_LOW_END 0x9fc00u
#define LAYOUT_ACPI 0xe0000u /* in the range that is searched for the root pointer */
#define LAYOUT_ACPI_END 0x100000u
#define LAYOUT_KERNEL 0x100000u

/* Memory above this is at 4 GiB and up; between lie devices. */
#define LAYOUT_RAM_LOW_MAX 0xc0000000ull
#define LAYOUT_RAM_HIGH 0x100000000ull
#define LAYOUT_MMIO 0xc0000000u /* virtio-mmio, a page each */
#define LAYOUT_ECAM 0xc8000000u /* configuration of the PCI bus, 1 MiB */
#define LAYOUT_PCI_MEMORY 0xd0000000u
#define LAYOUT_PCI_MEMORY_END 0xfebfffffu
#define LAYOUT_IOAPIC 0xfec00000u
#define LAYOUT_LOCAL_APIC 0xfee00000u

#define LAYOUT_PORT_CMOS 0x70u
#define LAYOUT_PORT_KEYBOARD 0x60u
#define LAYOUT_PORT_SERIAL 0x3f8u
#define LAYOUT_PORT_PM_EVENT 0x600u
#define LAYOUT_PORT_PM_CONTROL 0x604u
#define LAYOUT_PORT_RESET 0xcf9u
#define LAYOUT_PORT_PCI 0xc000u /* BARs */

/* Interrupts: those of a PC below 16, PCI's pin A above, one for each of eight slots. */
#define LAYOUT_IRQ_SERIAL 4u
#define LAYOUT_IRQ_ACPI 9u
#define LAYOUT_IRQ_PCI 16u
#define LAYOUT_IRQ_PCI_COUNT 8u

/* Edge interrupts which a PC of today has no use for: one for each virtio-mmio disk. */
#define LAYOUT_MMIO_IRQS            \
    {                               \
        5, 6, 7, 10, 11, 12, 14, 15 \
    }
#define LAYOUT_MMIO_MAX 8u
