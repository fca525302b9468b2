/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The lines with which a VMM attaches a disk.
 */

#include <jansson.h>

#include "cmd/common/command.h"

/* Print of `add`. */
void attach_print(const json_t *disk, const struct args *args);
