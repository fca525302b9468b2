/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A writer of ACPI machine language, as much of it as the launcher's DSDT needs.
 * A block opened by one of the *_begin functions is closed by aml_end; blocks nest.
 * Source: ACPI 6.5, 20.2 "AML Grammar Definition".
 */

#include "core/base/base.h"

struct aml {
    uint8_t *to; /* lent */
    size_t len;
    size_t room; /* writing past it is our mistake */
};

void aml_init(struct aml *aml, void *to, size_t room);
void aml_bytes(struct aml *aml, const void *bytes, size_t len);

/* Each returns what aml_end wants.  Names have four letters. */
size_t aml_scope_begin(struct aml *aml, const char *name);
size_t aml_device_begin(struct aml *aml, const char *name);
size_t aml_package_begin(struct aml *aml, uint8_t elements);
size_t aml_resources_begin(struct aml *aml);
void aml_end(struct aml *aml, size_t begin);
void aml_resources_end(struct aml *aml, size_t begin);

/* Name (NAME, what comes next). */
void aml_name(struct aml *aml, const char *name);
void aml_number(struct aml *aml, uint32_t value);
void aml_text(struct aml *aml, const char *text);

/* "PNP0A03" as a number. */
void aml_eisa_id(struct aml *aml, const char *id);

/* Resources: [min, max] that a bridge passes on, or fixed ones of a device. */
void aml_bus_numbers(struct aml *aml, uint16_t min, uint16_t max);
void aml_port_window(struct aml *aml, uint16_t min, uint16_t max);
void aml_memory_window(struct aml *aml, uint32_t min, uint32_t max);
void aml_ports(struct aml *aml, uint16_t first, uint8_t count);
void aml_memory(struct aml *aml, uint32_t addr, uint32_t len);
void aml_edge_interrupt(struct aml *aml, uint32_t gsi);
