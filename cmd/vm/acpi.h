/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * ACPI tables: what a stock kernel needs to find processors, interrupts, the PCI bus,
 * virtio-mmio disks and the way to power off.
 */

#include "cmd/vm/ram.h"

struct acpi_machine {
    unsigned cpus;
    struct acpi_mmio {
        uint32_t addr;
        uint32_t gsi;
    } mmio[8];
    unsigned mmio_count;
};

/* Write them at LAYOUT_ACPI, the root pointer first. */
void acpi_write(const struct ram *ram, const struct acpi_machine *machine);
