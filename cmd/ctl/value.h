/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The value of an option, an operand or a setting, as its kind has it.
 */

#include "cmd/ctl/command.h"

/* NULL with -EINVAL in `err` when the text is none.  Of kinds that stand for one value. */
json_t *value_parse(const struct arg *arg, const char *text, struct err *err);
