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

/* How the value of a row is read, and what stands for it in usages. */
enum arg_kind options_kind(const struct param *row);
const char *options_word(const struct param *row);
