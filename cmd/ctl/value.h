/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The value of an option, an operand or a setting, as its kind has it.
 */

#include "cmd/common/command.h"

/*
 * NULL with -EINVAL in `err` when the text is none: why, as '"x" is no whole number'.  Of kinds
 * that stand for one value.
 */
json_t *value_parse(enum arg_kind kind, const char *text, struct err *err);

/* A path from where vblkctl runs.  The caller frees it; NULL when there is no such directory. */
char *value_absolute(const char *path);
