/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The command line: read, and explained, from the same table.
 */

#include "cmd/common/command.h"

/*
 * Returns -1 when there is something to do, or the exit status: help was printed, or what
 * was typed is wrong and a sentence about it was printed.
 */
int args_parse(struct args *args, int argc, char **argv);
void args_free(struct args *args);

/*
 * Print why the call failed.  The daemon's refusal of a parameter, "image.size: ...", is told in
 * the words of the command line, "--size: ...".  Returns `status`.
 */
int args_refused(const struct args *args, int status, struct err *err);

/* vblkctl's own option, in milliseconds or a number; `otherwise` when it was not given. */
int64_t args_own(const struct args *args, const char *option, int64_t otherwise);
