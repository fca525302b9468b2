/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/params.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Nesting of our own tables, with room: "params.image.path". */
#define WHERE_BYTES 128

/* What a row is in JSON. */
static const char *const type_name[] = {
    [PARAM_STRING] = "string", [PARAM_PATH] = "string",     [PARAM_KIND] = "string",
    [PARAM_BOOL] = "boolean",  [PARAM_INTEGER] = "integer", [PARAM_BYTES] = "integer",
    [PARAM_USER] = "integer",  [PARAM_USERS] = "integer",   [PARAM_OBJECT] = "object",
};

static const char *type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a fraction";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

static bool has_type(const json_t *value, const struct param *param)
{
    if (param_is_text(param)) {
        return json_is_string(value);
    }
    if (param_is_number(param)) {
        return json_is_integer(value);
    }
    return param->type == PARAM_BOOL ? json_is_boolean(value) : json_is_object(value);
}

/* ---- read ---- */

bool params_know(const struct param *table, const char *name)
{
    struct param_walk at = param_walk(table);

    while (param_walk_next(&at)) {
        if (strcmp(at.param->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int refuse_unknown(const json_t *object, const struct param *table, const char *where,
                          struct err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        if (!params_know(table, name)) {
            return err_say(err, -EINVAL, "%s%s" PARAMS_UNKNOWN "%.64s\"", where,
                           where[0] ? ": " : "", name);
        }
    }
    return 0;
}

static int read_integer(int64_t value, const struct param *param, const char *where, void *field,
                        struct err *err)
{
    if (value < param->min || value > param->max) {
        return err_say(err, -EINVAL,
                       "%s: %" PRId64 " is out of range, %" PRId64 " to %" PRId64 " are allowed",
                       where, value, param->min, param->max);
    }
    if (param->is_power_of_2 && !is_power_of_2((uint64_t)value) &&
        !(value == 0 && param->value == 0)) {
        return err_say(err, -EINVAL, "%s: %" PRId64 " is not a power of two", where, value);
    }
    memcpy(field, &value, sizeof(value));
    return 0;
}

/* Both lists end with NULL. */
static const char *choice_at(const struct param *param, unsigned i)
{
    if (param->kinds) {
        return param->kinds[i] ? param->kinds[i]->name : NULL;
    }
    return param->choices[i];
}

static bool has_choices(const struct param *param)
{
    return param->choices || param->kinds;
}

static int refuse_choice(const char *value, const struct param *param, const char *where,
                         struct err *err)
{
    char list[160] = "";
    size_t used = 0;

    for (unsigned i = 0; choice_at(param, i) && used < sizeof(list); i++) {
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s\"%s\"", i > 0 ? ", " : "",
                                 choice_at(param, i));
    }
    return err_say(err, -EINVAL, "%s: \"%.64s\" is not allowed, must be one of %s", where, value,
                   list);
}

static bool is_choice(const char *value, const struct param *param)
{
    for (unsigned i = 0; choice_at(param, i); i++) {
        if (strcmp(choice_at(param, i), value) == 0) {
            return true;
        }
    }
    return false;
}

static int read_string(const char *value, const struct param *param, const char *where, void *field,
                       struct err *err)
{
    size_t len = strlen(value);

    if (len == 0) {
        return err_say(err, -EINVAL, "%s: is empty", where);
    }
    if (has_choices(param) && !is_choice(value, param)) {
        return refuse_choice(value, param, where, err);
    }
    if (len >= param->size) {
        return err_say(err, -EINVAL, "%s: is %zu bytes long, at most %zu are allowed", where, len,
                       param->size - 1);
    }
    memcpy(field, value, len + 1);
    return 0;
}

static void read_default(const struct param *param, bool is_change, void *field)
{
    int64_t number = is_change ? PARAM_ABSENT : param->value;
    const char *text = param->text && !is_change ? param->text : "";

    if (param_is_text(param)) {
        assert(strlen(text) < param->size);
        (void)snprintf(field, param->size, "%s", text);
    } else if (param_is_number(param)) {
        memcpy(field, &number, sizeof(number));
    } else {
        assert(!is_change); /* nothing to tell it from false */
        *(bool *)field = false;
    }
}

static int read_object(const json_t *object, const struct param *table, const char *where,
                       bool is_change, void *target, struct err *err);

static int read_member(const json_t *value, const struct param *param, const char *where,
                       bool is_change, void *field, struct err *err)
{
    if (!has_type(value, param)) {
        return err_say(err, -EINVAL, "%s: must be %s %s, not %s", where,
                       strchr("aeio", type_name[param->type][0]) ? "an" : "a",
                       type_name[param->type], type_of(value));
    }
    if (param_is_text(param)) {
        return read_string(json_string_value(value), param, where, field, err);
    }
    if (param_is_number(param)) {
        return read_integer(json_integer_value(value), param, where, field, err);
    }
    if (param->type == PARAM_OBJECT) {
        return read_object(value, param->members, where, is_change, field, err);
    }
    *(bool *)field = json_is_true(value);
    return 0;
}

static int read_absent(const struct param *param, const char *where, bool is_change, void *field,
                       struct err *err)
{
    json_auto_t *empty = NULL;

    if (param->is_required) {
        return err_say(err, -EINVAL, "%s: is missing", where);
    }
    if (param->type == PARAM_OBJECT) {
        empty = json_object();
        return read_object(empty, param->members, where, is_change, field, err);
    }
    read_default(param, is_change, field);
    return 0;
}

/* Files of before have what another kind has, too, as it is when nobody says. */
static int refuse_other_kind(const struct param_walk *at, const char *where, const void *field,
                             struct err *err)
{
    char list[80] = "";

    if (param_has_default(at->param, field)) {
        return 0;
    }
    for (const struct param_kind *const *kind = at->chooser->kinds; *kind; kind++) {
        if (param_of_kind(*kind, at->param->name)) {
            size_t used = strlen(list);

            (void)snprintf(list + used, sizeof(list) - used, "%s\"%s\"", used ? " or " : "",
                           (*kind)->name);
        }
    }
    return err_say(err, -EINVAL, "%s: goes with %s %s only", where, at->chooser->name, list);
}

static int read_row(const json_t *value, const struct param_walk *at, const char *where,
                    void *target, struct err *err)
{
    const struct param *own = param_own_row(at, target);
    void *field = (char *)target + at->offset;
    int ret;

    if (value) {
        ret = read_member(value, own ? own : at->param, where, at->is_change, field, err);
    } else if (own) {
        ret = read_absent(own, where, at->is_change, field, err);
    } else {
        read_default(at->param, at->is_change, field);
        return 0;
    }
    return ret < 0 || own ? ret : refuse_other_kind(at, where, field, err);
}

static int read_object(const json_t *object, const struct param *table, const char *where,
                       bool is_change, void *target, struct err *err)
{
    char member[WHERE_BYTES];
    struct param_walk at = param_walk(table);
    int ret = refuse_unknown(object, table, where, err);

    while (ret == 0 && param_walk_next(&at)) {
        at.is_change = at.is_change || is_change;
        (void)snprintf(member, sizeof(member), "%s%s%s", where, where[0] ? "." : "",
                       at.param->name);
        ret = read_row(json_object_get(object, at.param->name), &at, member, target, err);
    }
    return ret;
}

int params_read(const json_t *object, const struct param *table, const char *where, void *target,
                struct err *err)
{
    return read_object(object, table, where, false, target, err);
}

/* ---- describe ---- */

static void describe_default(const struct param_walk *at, json_t *object)
{
    const struct param *param = at->param;
    json_t *value = NULL;

    if (at->is_change || param->type == PARAM_OBJECT) {
        return;
    }
    if (param_is_number(param)) {
        value = json_integer(param->value);
    } else if (param->type == PARAM_BOOL) {
        value = json_false();
    } else if (param->text) {
        value = json_string(param->text);
    }
    if (value) {
        (void)json_object_set_new(object, "default", value);
    }
}

static void describe_limits(const struct param *param, json_t *object)
{
    if (param_is_number(param)) {
        (void)json_object_set_new(object, "min", json_integer(param->min));
        (void)json_object_set_new(object, "max", json_integer(param->max));
    }
    if (has_choices(param)) {
        json_t *values = json_array();

        for (unsigned i = 0; choice_at(param, i); i++) {
            (void)json_array_append_new(values, json_string(choice_at(param, i)));
        }
        (void)json_object_set_new(object, "values", values);
    }
}

/* Is it the same for all kinds, or of none? */
static bool is_common(const struct param_walk *at)
{
    for (const struct param_kind *const *kind = at->chooser ? at->chooser->kinds : NULL;
         kind && *kind; kind++) {
        const struct param *row = param_of_kind(*kind, at->param->name);

        if (!row || strcmp(row->help, at->param->help) != 0) {
            return false;
        }
    }
    return true;
}

/* "file: how large a new one is; null: how large it is" where kinds differ. */
static void say_help(const struct param_walk *at, char *text, size_t size)
{
    const struct param *param = at->param;
    size_t used = 0;

    if (!at->chooser || is_common(at)) {
        used = (size_t)snprintf(text, size, "%s", param->help);
    } else {
        for (unsigned i = 0; at->chooser->kinds[i] && used < size; i++) {
            const struct param_kind *kind = at->chooser->kinds[i];
            const struct param *row = param_of_kind(kind, param->name);

            used += row ? (size_t)snprintf(text + used, size - used, "%s%s: %s",
                                           used > 0 ? "; " : "", kind->name, row->help)
                        : 0;
        }
    }
    if (param->otherwise && used < size) {
        (void)snprintf(text + used, size - used, " [%s]", param->otherwise);
    }
}

json_t *params_describe(const struct param *table)
{
    struct param_walk at = param_walk(table);
    json_t *list = json_array();

    while (param_walk_next(&at)) {
        bool is_required = at.param->is_required && !at.chooser;
        char help[256];
        json_t *object;

        say_help(&at, help, sizeof(help));
        object = json_pack("{s:s, s:s, s:b, s:s}", "name", at.param->name, "type",
                           type_name[at.param->type], "required", is_required, "help", help);
        if (!is_required) {
            describe_default(&at, object);
        }
        if (!is_required || has_choices(at.param)) {
            describe_limits(at.param, object);
        }
        if (at.param->members) {
            (void)json_object_set_new(object, "members", params_describe(at.param->members));
        }
        (void)json_array_append_new(list, object);
    }
    return list;
}
