/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The members that a JSON object may have, declared once in a table: read into a plain
 * struct, checked by name, written back, and described to those who ask.
 * Thread: control.
 */

#include <jansson.h>
#include <stdint.h>

#include "core/base.h"
#include "core/err.h"

enum param_type {
    PARAM_STRING,  /* char[size] in the target */
    PARAM_BOOL,    /* bool */
    PARAM_INTEGER, /* int64_t */
    PARAM_OBJECT,  /* members at the same target */
};

struct param {
    const char *name; /* NULL ends a table */
    enum param_type type;
    bool is_required;
    bool is_power_of_2;  /* or `value`, where that is 0 */
    bool has_no_default; /* string or integer: reads as absent when it is not given */
    size_t offset;       /* of the field in the target */
    size_t size;         /* PARAM_STRING: of the field, final NUL included */
    int64_t value;       /* PARAM_INTEGER: when it is not given */
    int64_t min;
    int64_t max;
    const char *text;           /* PARAM_STRING: when it is not given, NULL: "" */
    const char *const *choices; /* PARAM_STRING: NULL: any text; ends with NULL */
    const struct param *members;
    const char *help;
};

/*
 * Fill `target` from `object`, defaults included.  `where` names the object in error texts,
 * "" for the outermost.  Returns 0, or -EINVAL with a text that names the member and what is
 * allowed.
 */
int params_read(const json_t *object, const struct param *table, const char *where, void *target,
                struct err *err);

/*
 * The object that params_read reads as `target`.  Defaults are written out, so that the same
 * values come back when a later version has others.
 */
json_t *params_write(const struct param *table, const void *target);

/* How an integer without a default reads when it is not given; a string reads as "". */
#define PARAM_ABSENT INT64_MIN

/*
 * Of flat tables of integers and strings without defaults.  params_merge copies what is not
 * absent, and returns true when the target is otherwise than before.
 */
bool params_has_any(const struct param *table, const void *target);
bool params_merge(const struct param *table, void *target, const void *change);

/* The table itself, for people and tests: an array of objects. */
json_t *params_describe(const struct param *table);
