/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * `version`, `ping` and `shutdown`.
 */

#include "cmd/common/command.h"

void daemon_print_version(const json_t *result, const struct args *args);
void daemon_print_ping(const json_t *result, const struct args *args);

/* Returns when the daemon has ended. */
int daemon_shutdown(struct rpc *rpc, const struct args *args);
