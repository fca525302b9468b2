/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What can be given to a command: vblkctl's own options, and what the tables of the daemon say
 * of the parameters of its method.
 */

#include "cmd/common/command.h"
#include "core/base/param.h"

/* Those of the daemon first, in its order.  They end with ARG_END, and last until the next call. */
const struct arg *options_of(const struct command *command);

/* KEY=VALUE; the same. */
const struct arg *settings_of(const struct command *command);

/* What an answer has for an option or a setting, NULL: nothing. */
const json_t *options_value(const json_t *answer, const struct arg *arg);

/* The one of a parameter, whose name has `len` bytes; NULL: there is none. */
const struct arg *options_find(const struct arg *list, const char *name, size_t len);

/*
 * What a sentence of the daemon calls a parameter, as in "give iops, too, or iops_max 0", is told
 * as it is typed: "iops-max".  A disk of such a name keeps it, as do parts of paths.  `disk` may be
 * NULL.
 */
void options_spell(const struct command *command, const char *disk, char *text);

/* How the value of a row is read, and what stands for it in usages. */
enum arg_kind options_kind(const struct param *row);
const char *options_word(const struct param *row);
