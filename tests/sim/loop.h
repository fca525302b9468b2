/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The part of libuv that core uses, in the place of libuv: a loop runs one callback when it is told
 * to, whichever of those that could come next.
 */

#include <stdbool.h>
#include <uv.h>

/* All loops are gone, with their process. */
void loop_kill_all(void);

/* A loop whose callbacks do not run. */
void loop_park(const uv_loop_t *loop, bool is_parked);

/* How many callbacks could run, of all loops. */
unsigned loop_ready(void);

/* Run the one of them with this number. */
void loop_run(unsigned which);

/* What was sent to this handle runs, if anything was. */
void loop_run_async(uv_async_t *async);

/* Callbacks of handles that are closed, until none is left. */
void loop_finish(uv_loop_t *loop);

/* When the next timer comes, in ms; UINT64_MAX: there is none. */
uint64_t loop_next_ms(void);

/* An eventfd was written to. */
void loop_signalled(int fd);
