/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A table of parameters (core/base/param.h) as JSON: an object is read into a plain struct and
 * checked by name, written back, and the table is described to those who ask.
 * Thread: control; params_merge and params_say: any.
 */

#include <jansson.h>

#include "core/base/err.h"
#include "core/base/param.h"

/* How the text begins, behind the place, that refuses a member which a table lacks. */
#define PARAMS_UNKNOWN "unknown member \""

/*
 * Fill `target` from `object`, defaults included.  `where` names the object in error texts,
 * "" for the outermost.  Returns 0, or -EINVAL with a text that names the member and what is
 * allowed.  What only another kind has is refused, unless it is as when nobody says.
 */
int params_read(const json_t *object, const struct param *table, const char *where, void *target,
                struct err *err);

/*
 * The object that params_read reads as `target`.  Defaults are written out, also of what other
 * kinds have, so that the same values come back when a later version has others.  NULL without
 * memory, or when a string is not UTF-8: never an object that lacks a member.
 */
json_t *params_write(const struct param *table, const void *target);

/* Only what is told of `target` (is_told).  NULL without memory. */
json_t *params_tell(const struct param *table, const void *target);

/* The name of a member in which the targets differ, NULL when there is none. */
const char *params_differ(const struct param *table, const void *a, const void *b);

/*
 * Of a change, a target that was read with is_change.  params_merge copies what is not absent,
 * and returns true when the target is otherwise than before.
 */
bool params_has_any(const struct param *table, const void *change);
bool params_merge(const struct param *table, void *target, const void *change);

/* For a log line: "poll-us 100, engine auto". */
void params_say(const struct param *table, const void *target, char *text, size_t size);

/* Has it a row of that name? */
bool params_know(const struct param *table, const char *name);

/* The table itself, for people and tests: an array of objects. */
json_t *params_describe(const struct param *table);
