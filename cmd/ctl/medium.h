/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What replace answers, for people. */

#include <jansson.h>

#include "cmd/ctl/args.h"

void medium_print(const json_t *disk, const struct args *args);
