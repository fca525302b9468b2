/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/params.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Nesting of our own tables, with room: "params.image.path". */
#define WHERE_BYTES 128

static const char *const type_name[] = {
    [PARAM_STRING] = "string",
    [PARAM_BOOL] = "boolean",
    [PARAM_INTEGER] = "integer",
    [PARAM_OBJECT] = "object",
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

static bool has_type(const json_t *value, enum param_type type)
{
    switch (type) {
    case PARAM_STRING:
        return json_is_string(value);
    case PARAM_BOOL:
        return json_is_boolean(value);
    case PARAM_INTEGER:
        return json_is_integer(value);
    default:
        return json_is_object(value);
    }
}

static const struct param *find_param(const struct param *table, const char *name)
{
    for (const struct param *param = table; param->name; param++) {
        if (strcmp(param->name, name) == 0) {
            return param;
        }
    }
    return NULL;
}

static int refuse_unknown(const json_t *object, const struct param *table, const char *where,
                          struct err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        if (!find_param(table, name)) {
            return err_say(err, -EINVAL, "%s%sunknown member \"%.64s\"", where,
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

static int refuse_choice(const char *value, const struct param *param, const char *where,
                         struct err *err)
{
    char list[160] = "";
    size_t used = 0;

    for (unsigned i = 0; param->choices[i] && used < sizeof(list); i++) {
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s\"%s\"", i > 0 ? ", " : "",
                                 param->choices[i]);
    }
    return err_say(err, -EINVAL, "%s: \"%.64s\" is not allowed, must be one of %s", where, value,
                   list);
}

static bool is_choice(const char *value, const char *const *choices)
{
    for (unsigned i = 0; choices[i]; i++) {
        if (strcmp(choices[i], value) == 0) {
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
    if (param->choices && !is_choice(value, param->choices)) {
        return refuse_choice(value, param, where, err);
    }
    if (len >= param->size) {
        return err_say(err, -EINVAL, "%s: is %zu bytes long, at most %zu are allowed", where, len,
                       param->size - 1);
    }
    memcpy(field, value, len + 1);
    return 0;
}

static void read_default(const struct param *param, void *field)
{
    int64_t number = param->has_no_default ? PARAM_ABSENT : param->value;

    assert(!param->has_no_default || param->type == PARAM_STRING || param->type == PARAM_INTEGER);
    switch (param->type) {
    case PARAM_STRING:
        assert(!param->text || strlen(param->text) < param->size);
        (void)snprintf(field, param->size, "%s", param->text ? param->text : "");
        break;
    case PARAM_BOOL:
        *(bool *)field = false;
        break;
    case PARAM_INTEGER:
        memcpy(field, &number, sizeof(number));
        break;
    default:
        break;
    }
}

static int read_member(const json_t *value, const struct param *param, const char *where,
                       void *target, struct err *err)
{
    void *field = (char *)target + param->offset;

    if (!has_type(value, param->type)) {
        return err_say(err, -EINVAL, "%s: must be %s %s, not %s", where,
                       strchr("aeio", type_name[param->type][0]) ? "an" : "a",
                       type_name[param->type], type_of(value));
    }
    switch (param->type) {
    case PARAM_STRING:
        return read_string(json_string_value(value), param, where, field, err);
    case PARAM_BOOL:
        *(bool *)field = json_is_true(value);
        return 0;
    case PARAM_INTEGER:
        return read_integer(json_integer_value(value), param, where, field, err);
    default:
        return params_read(value, param->members, where, target, err);
    }
}

static int read_absent(const struct param *param, const char *where, void *target, struct err *err)
{
    json_auto_t *empty = NULL;

    if (param->is_required) {
        return err_say(err, -EINVAL, "%s: is missing", where);
    }
    if (param->type == PARAM_OBJECT) {
        empty = json_object();
        return params_read(empty, param->members, where, target, err);
    }
    read_default(param, (char *)target + param->offset);
    return 0;
}

int params_read(const json_t *object, const struct param *table, const char *where, void *target,
                struct err *err)
{
    char member[WHERE_BYTES];
    int ret = refuse_unknown(object, table, where, err);

    for (const struct param *param = table; ret == 0 && param->name; param++) {
        const json_t *value = json_object_get(object, param->name);

        (void)snprintf(member, sizeof(member), "%s%s%s", where, where[0] ? "." : "", param->name);
        if (value) {
            ret = read_member(value, param, member, target, err);
        } else {
            ret = read_absent(param, member, target, err);
        }
    }
    return ret;
}

/* NULL: there is none. */
static json_t *write_member(const struct param *param, const void *target)
{
    const void *field = (const char *)target + param->offset;
    int64_t number;

    switch (param->type) {
    case PARAM_STRING:
        return *(const char *)field ? json_string(field) : NULL;
    case PARAM_BOOL:
        return json_boolean(*(const bool *)field);
    case PARAM_INTEGER:
        memcpy(&number, field, sizeof(number));
        return json_integer(number);
    default:
        return params_write(param->members, target);
    }
}

json_t *params_write(const struct param *table, const void *target)
{
    json_t *object = json_object();

    for (const struct param *param = table; param->name; param++) {
        json_t *value = write_member(param, target);

        if (value) {
            (void)json_object_set_new(object, param->name, value); /* fails without memory only */
        }
    }
    return object;
}

static bool is_absent(const struct param *param, const void *target)
{
    const void *field = (const char *)target + param->offset;
    int64_t number;

    if (param->type == PARAM_STRING) {
        return *(const char *)field == '\0';
    }
    assert(param->type == PARAM_INTEGER);
    memcpy(&number, field, sizeof(number));
    return number == PARAM_ABSENT;
}

bool params_has_any(const struct param *table, const void *target)
{
    for (const struct param *param = table; param->name; param++) {
        if (!is_absent(param, target)) {
            return true;
        }
    }
    return false;
}

/* Returns true when it was otherwise before. */
static bool copy_member(const struct param *param, void *target, const void *change)
{
    void *to = (char *)target + param->offset;
    const void *from = (const char *)change + param->offset;

    if (param->type == PARAM_STRING) {
        bool is_new = strcmp(to, from) != 0;

        (void)snprintf(to, param->size, "%s", (const char *)from);
        return is_new;
    }
    if (memcmp(to, from, sizeof(int64_t)) == 0) {
        return false;
    }
    memcpy(to, from, sizeof(int64_t));
    return true;
}

bool params_merge(const struct param *table, void *target, const void *change)
{
    bool has_changed = false;

    for (const struct param *param = table; param->name; param++) {
        if (!is_absent(param, change)) {
            has_changed = copy_member(param, target, change) || has_changed;
        }
    }
    return has_changed;
}

static void describe_limits(const struct param *param, json_t *object)
{
    if (param->type == PARAM_INTEGER) {
        if (!param->has_no_default) {
            (void)json_object_set_new(object, "default", json_integer(param->value));
        }
        (void)json_object_set_new(object, "min", json_integer(param->min));
        (void)json_object_set_new(object, "max", json_integer(param->max));
    } else if (param->type == PARAM_BOOL) {
        (void)json_object_set_new(object, "default", json_false());
    } else if (param->text) {
        (void)json_object_set_new(object, "default", json_string(param->text));
    }
    if (param->choices) {
        json_t *values = json_array();

        for (unsigned i = 0; param->choices[i]; i++) {
            (void)json_array_append_new(values, json_string(param->choices[i]));
        }
        (void)json_object_set_new(object, "values", values);
    }
}

json_t *params_describe(const struct param *table)
{
    json_t *list = json_array();

    for (const struct param *param = table; param->name; param++) {
        json_t *object =
            json_pack("{s:s, s:s, s:b, s:s}", "name", param->name, "type", type_name[param->type],
                      "required", param->is_required, "help", param->help);

        if (!param->is_required || param->choices) {
            describe_limits(param, object);
        }
        if (param->members) {
            (void)json_object_set_new(object, "members", params_describe(param->members));
        }
        (void)json_array_append_new(list, object);
    }
    return list;
}
