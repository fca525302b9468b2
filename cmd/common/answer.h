/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What is printed of JSON, safe for a terminal: file names and names of programs in it are
 * somebody else's.
 */

#include "cmd/common/command.h"

typedef void answer_print_fn(const json_t *result, const struct args *args);

/* As one line of JSON where that is asked for, else by `print`.  Changes `result`. */
void answer_print(json_t *result, const struct args *args, answer_print_fn *print);

/* All texts in `value` as text_escape shows them. */
void answer_make_safe(json_t *value);

/*
 * One line of JSON in ASCII: the same values for whoever reads JSON, and nothing that a terminal
 * acts on.  `flags` are jansson's.  Returns false when standard output does not take it.
 */
bool answer_print_json(const json_t *value, size_t flags);
