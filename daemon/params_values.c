/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/params.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const void *field_of(const struct param_walk *at, const void *target)
{
    return (const char *)target + at->offset;
}

/* ---- write ---- */

static json_t *value_of(const struct param *param, const void *field)
{
    int64_t number;

    if (param_is_text(param)) {
        return json_string(field);
    }
    if (param_is_number(param)) {
        memcpy(&number, field, sizeof(number));
        return json_integer(number);
    }
    return param->type == PARAM_BOOL ? json_boolean(*(const bool *)field)
                                     : params_write(param->members, field);
}

/* An empty string reads as one that is not given. */
static bool is_empty(const struct param *param, const void *field)
{
    return param_is_text(param) && *(const char *)field == '\0';
}

static bool is_told(const struct param_walk *at, const void *target)
{
    const struct param *own = param_own_row(at, target);

    return own && own->is_told;
}

static json_t *write_rows(const struct param *table, const void *target, bool only_told)
{
    struct param_walk at = param_walk(table);
    json_t *object = json_object();

    while (object && param_walk_next(&at)) {
        const void *field = field_of(&at, target);

        if (!is_empty(at.param, field) && (!only_told || is_told(&at, target)) &&
            json_object_set_new(object, at.param->name, value_of(at.param, field)) < 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

json_t *params_write(const struct param *table, const void *target)
{
    return write_rows(table, target, false);
}

json_t *params_tell(const struct param *table, const void *target)
{
    return write_rows(table, target, true);
}

/* More of a text is cut off. */
#define SAY_BYTES 128

static void say_value(const struct param *param, const void *field, char value[SAY_BYTES])
{
    int64_t number;

    if (param_is_text(param)) {
        (void)snprintf(value, SAY_BYTES, "%s", (const char *)field);
    } else if (param_is_number(param)) {
        memcpy(&number, field, sizeof(number));
        (void)snprintf(value, SAY_BYTES, "%" PRId64, number);
    } else if (param->type == PARAM_BOOL) {
        (void)snprintf(value, SAY_BYTES, "%s", *(const bool *)field ? "yes" : "no");
    } else {
        params_say(param->members, field, value, SAY_BYTES);
    }
}

void params_say(const struct param *table, const void *target, char *text, size_t size)
{
    struct param_walk at = param_walk(table);
    size_t used = 0;

    text[0] = '\0';
    while (used < size && param_walk_next(&at)) {
        char option[PARAM_OPTION_BYTES];
        char value[SAY_BYTES];

        if (at.param->is_quiet && param_has_default(at.param, field_of(&at, target))) {
            continue;
        }
        param_option(at.param->name, option);
        say_value(at.param, field_of(&at, target), value);
        used +=
            (size_t)snprintf(text + used, size - used, "%s%s %s", used ? ", " : "", option, value);
    }
}

/* ---- compare and change ---- */

static bool is_same(const struct param *param, const void *left, const void *right)
{
    if (param_is_text(param)) {
        return strcmp(left, right) == 0;
    }
    if (param_is_number(param)) {
        return memcmp(left, right, sizeof(int64_t)) == 0;
    }
    return param->type == PARAM_BOOL ? *(const bool *)left == *(const bool *)right
                                     : params_differ(param->members, left, right) == NULL;
}

const char *params_differ(const struct param *table, const void *a, const void *b)
{
    struct param_walk at = param_walk(table);

    while (param_walk_next(&at)) {
        if (!is_same(at.param, field_of(&at, a), field_of(&at, b))) {
            return at.param->name;
        }
    }
    return NULL;
}

static bool is_absent(const struct param *param, const void *field)
{
    int64_t number;

    if (param->type == PARAM_OBJECT) {
        return !params_has_any(param->members, field);
    }
    if (param_is_text(param)) {
        return *(const char *)field == '\0';
    }
    assert(param_is_number(param));
    memcpy(&number, field, sizeof(number));
    return number == PARAM_ABSENT;
}

bool params_has_any(const struct param *table, const void *change)
{
    struct param_walk at = param_walk(table);

    while (param_walk_next(&at)) {
        if (!is_absent(at.param, field_of(&at, change))) {
            return true;
        }
    }
    return false;
}

/* Returns true when it was otherwise before. */
static bool copy_field(const struct param *param, void *to, const void *from)
{
    if (param->type == PARAM_OBJECT) {
        return params_merge(param->members, to, from);
    }
    if (is_same(param, to, from)) {
        return false;
    }
    memcpy(to, from, param_is_text(param) ? param->size : sizeof(int64_t));
    return true;
}

bool params_merge(const struct param *table, void *target, const void *change)
{
    struct param_walk at = param_walk(table);
    bool has_changed = false;

    while (param_walk_next(&at)) {
        const void *from = field_of(&at, change);

        if (!is_absent(at.param, from)) {
            has_changed = copy_field(at.param, (char *)target + at.offset, from) || has_changed;
        }
    }
    return has_changed;
}
