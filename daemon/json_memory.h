/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Memory of jansson, so that nothing that was made without enough of it is taken for the whole:
 * an object may lack a member then, and a text that is right is told to be wrong, or worse: its
 * reader drops characters that it has no room for, and an assertion ends the process.
 *
 * So what malloc does not give comes from a reserve, which is set aside, and is counted as a
 * failure: the work goes on, and whoever asked for it throws the result away.
 * Thread: any; each counts its own failures.
 */

#include <jansson.h>

/* Once, in the whole process; what was allocated before stays good. */
void json_memory_install(void);

/* How often malloc has failed this thread so far. */
unsigned json_memory_failures(void);

/*
 * `value`, if none has failed since there were `before`.  Otherwise it is freed, and NULL
 * returned.
 */
json_t *json_memory_check(json_t *value, unsigned before);

/* What jansson calls; NULL when the reserve is used up as well. */
void *json_memory_alloc(size_t size);
void json_memory_free(void *memory);
