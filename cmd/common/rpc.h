/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A connection to vblkd: one request at a time, each with a time-out.
 */

#include <jansson.h>
#include <signal.h>

#include "core/base/err.h"

struct rpc {
    int fd;
    const char *path; /* lent */
    char *input;      /* owned: what came after the last line that was read */
    size_t used;
    size_t room;
    json_int_t last_id;
    const volatile sig_atomic_t *is_interrupted; /* lent: ends the wait; NULL: nothing does */
};

/* Returns 0, or the exit status with a sentence in `err`.  `path` is lent for rpc's life. */
int rpc_open(struct rpc *rpc, const char *path, struct err *err);
void rpc_close(struct rpc *rpc);

/*
 * The same; -EINVAL in `err` means that a parameter was refused.  `params` is lent; `*result` is
 * the caller's.  Once the program has lacked memory for JSON (json_memory.h) nothing is asked, as
 * a parameter may be missing.
 */
int rpc_call(struct rpc *rpc, const char *method, json_t *params, unsigned wait_ms, json_t **result,
             struct err *err);

/*
 * Until the daemon has closed the connection.  Returns false when it has not by then.
 * `*params`: the caller's, of what it has said of its end (PROTOCOL_ENDED); NULL: nothing.
 */
bool rpc_wait_ended(struct rpc *rpc, unsigned wait_ms, json_t **params);
