/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * --help, printed from the table of commands.
 */

#include "cmd/common/command.h"

/* `command` NULL: of vblkctl itself. */
void help_print(const struct command *command);

/* "Try ..." on standard error. */
void help_hint(const struct command *command);
