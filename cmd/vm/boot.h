/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The Linux boot protocol, 64-bit entry: kernel, initial RAM disk, command line, memory map and
 * the page tables that the entry wants.
 * Source: Linux documentation, "The Linux/x86 Boot Protocol".
 */

#include "cmd/vm/ram.h"

struct boot_options {
    const char *kernel;
    const char *initrd; /* NULL: none */
    const char *command_line;
};

/* Puts all into memory; `*entry` is where the first processor begins, in long mode. */
int boot_load(const struct ram *ram, const struct boot_options *options, uint64_t *entry,
              struct err *err);
