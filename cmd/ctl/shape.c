/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/print.h"

void shape_show_blocks(const json_t *disk)
{
    uint64_t best = print_number_of(disk, "opt_io_size");
    char text[48] = "";

    if (best > 0) {
        (void)snprintf(text, sizeof(text), ", best I/O size %" PRIu64, best);
    }
    print_field("blocks", "logical %" PRIu64 ", physical %" PRIu64 "%s",
                print_number_of(disk, "logical_block_size"),
                print_number_of(disk, "physical_block_size"), text);
}

void shape_show_ranges(const json_t *disk)
{
    uint64_t block = print_number_of(disk, "discard_block_size");
    const char *zeroes = print_text_of(disk, "zeroes");
    char text[48] = "off";

    if (!json_object_get(disk, "discard_block_size")) {
        return;
    }
    if (block > 0) {
        (void)snprintf(text, sizeof(text), "blocks of %" PRIu64, block);
    }
    print_field("discards", "%s; zeroes: %s", text,
                strcmp(zeroes, "unmap") == 0  ? "given back if the guest allows it"
                : strcmp(zeroes, "keep") == 0 ? "stay allocated"
                                              : "off");
}
