/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The words of a command line, looked at before getopt_long does: it takes the beginning of an
 * option's name for the option, so that `--time` becomes `--timeout`, and complains in its own way.
 */

#include <getopt.h>

#include "core/base/err.h"

/*
 * Is each option one of `list`, written in full, with a value where it takes one and none where
 * not? What follows "--" is left alone, and with `ends_at_operand` what follows the first operand.
 * Returns 0, and getopt_long will have nothing to complain of; or -EINVAL with a sentence.
 */
int argv_check(int argc, char *const *argv, const struct option *list, bool ends_at_operand,
               struct err *err);

/* The option that `name`, of `len` bytes, most likely stands for; NULL: none that is known. */
const struct option *argv_guess(const struct option *list, const char *name, size_t len);
