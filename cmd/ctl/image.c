/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/image.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ctl/options.h"
#include "cmd/ctl/value.h"
#include "daemon/disk_params.h"

/* ---- a type by its name ---- */

/* Is it an option of the command, as files have it too? */
static bool is_option(const struct param *row)
{
    return param_of_kind(image_kinds[0], row->name);
}

static const struct param *required_of(const struct param_kind *kind)
{
    const struct param *row = kind->params;

    while (row->name && !row->is_required) {
        row++;
    }
    return row->name ? row : NULL;
}

static json_t *parse_value(const struct param *row, const char *text, struct err *err)
{
    return value_parse(options_kind(row), text, err);
}

/* The row of `key`, "delay-ms=5". */
static const struct param *find_key(const struct param_kind *kind, const char *key)
{
    size_t len = strcspn(key, "=");

    for (const struct param *row = kind->params; row->name; row++) {
        char option[PARAM_OPTION_BYTES];

        param_option(row->name, option);
        if (key[len] == '=' && !row->is_required && !is_option(row) && strlen(option) == len &&
            strncmp(option, key, len) == 0) {
            return row;
        }
    }
    return NULL;
}

/* ",delay-ms=N" for each, with `before` and `after` around it. */
static size_t say_keys(const struct param_kind *kind, const char *before, const char *after,
                       char *text, size_t size)
{
    size_t used = 0;

    for (const struct param *row = kind->params; row->name && used < size; row++) {
        char option[PARAM_OPTION_BYTES];

        param_option(row->name, option);
        if (!row->is_required && !is_option(row)) {
            used += (size_t)snprintf(text + used, size - used, "%s%s=%s%s", before, option,
                                     options_word(row), after);
        }
    }
    return min_of(used, size);
}

static int parse_key(const struct param_kind *kind, const char *key, json_t *image, struct err *err)
{
    static const char separator[] = ", ";
    const struct param *row = find_key(kind, key);
    struct err why = {0};
    char known[IMAGE_USAGE_BYTES] = "";
    json_t *value;

    if (!row) {
        (void)say_keys(kind, separator, "", known, sizeof(known));
        return key[0] ? err_say(err, -EINVAL, "\"%s\": a %s image has no such option, only %s", key,
                                kind->name, known + strlen(separator))
                      : err_say(err, -EINVAL, "no option follows a comma; a %s image has %s",
                                kind->name, known + strlen(separator));
    }
    if (json_object_get(image, row->name)) {
        return err_say(err, -EINVAL, "\"%s\": is given twice", key);
    }
    value = parse_value(row, strchr(key, '=') + 1, &why);
    if (!value) {
        return err_say(err, -EINVAL, "%.*s: %s", (int)strcspn(key, "="), key, why.text);
    }
    return json_object_set_new(image, row->name, value);
}

/* `text` is changed: "1G,delay-ms=5". */
static int parse_kind(const struct param_kind *kind, char *text, json_t *image, struct err *err)
{
    const struct param *row = required_of(kind);
    char *rest = text;
    const char *first = strsep(&rest, ",");
    struct err why = {0};
    json_t *value = parse_value(row, first, &why);
    int ret = 0;

    if (!value) {
        return first[0] ? err_say(err, -EINVAL, "%s:%s: %s", kind->name, first, why.text)
                        : err_say(err, -EINVAL, "%s: its %s is missing: %s", kind->name, row->name,
                                  why.text);
    }
    if (json_object_get(image, row->name)) {
        json_decref(value);
        return err_say(err, -EINVAL, "%s:%s has its %s: leave out --%s", kind->name, first,
                       row->name, row->name);
    }
    (void)json_object_set_new(image, "type", json_string(kind->name));
    (void)json_object_set_new(image, row->name, value);
    while (ret == 0 && rest) {
        ret = parse_key(kind, strsep(&rest, ","), image, err);
    }
    return ret;
}

/* The kind that `text` begins with the name of, and a colon; NULL: it is a path. */
static const struct param_kind *kind_of(const char *text)
{
    for (const struct param_kind *const *kind = &image_kinds[1]; *kind; kind++) {
        size_t len = strlen((*kind)->name);

        if (required_of(*kind) && strncmp(text, (*kind)->name, len) == 0 && text[len] == ':') {
            return *kind;
        }
    }
    return NULL;
}

static int parse_path(const char *text, json_t *image, struct err *err)
{
    char *path;
    json_t *value;

    if (text[0] == '\0') {
        return err_say(err, -EINVAL, "IMAGE is empty");
    }
    path = value_absolute(text);
    value = path ? json_string(path) : NULL;
    free(path);
    if (!value) {
        return err_say(err, -EINVAL, "IMAGE: \"%s\" is no path that can be sent (UTF-8)", text);
    }
    (void)json_object_set_new(image, "type", json_string(image_kinds[0]->name));
    (void)json_object_set_new(image, required_of(image_kinds[0])->name, value);
    return 0;
}

int image_parse(const char *text, json_t *image, struct err *err)
{
    const struct param_kind *kind = kind_of(text);
    char *copy;
    int ret;

    if (!kind) {
        return parse_path(text, image, err);
    }
    copy = strdup(text + strlen(kind->name) + 1);
    if (!copy) {
        return err_set(err, -ENOMEM, "IMAGE");
    }
    ret = parse_kind(kind, copy, image, err);
    free(copy);
    return ret;
}

void image_usage(char usage[IMAGE_USAGE_BYTES])
{
    size_t used = 0;

    for (const struct param_kind *const *kind = &image_kinds[1]; *kind; kind++) {
        if (!required_of(*kind)) {
            continue; /* it is an option */
        }
        used += (size_t)snprintf(usage + used, IMAGE_USAGE_BYTES - used, "%s%s:%s",
                                 used > 0 ? " or " : "", (*kind)->name,
                                 options_word(required_of(*kind)));
        assert(used < IMAGE_USAGE_BYTES);
        used += say_keys(*kind, "[,", "]", usage + used, IMAGE_USAGE_BYTES - used);
    }
}

/* ---- what the daemon says of it ---- */

bool image_word(const json_t *image, const char *name, size_t len, char word[IMAGE_WORD_BYTES])
{
    static const char object[] = "image.";
    const char *type = json_string_value(json_object_get(image, "type"));
    const struct param_kind *kind = type ? param_find_kind(image_kinds, type) : NULL;
    char member[PARAM_OPTION_BYTES];
    const struct param *row;

    if (!kind || len < strlen(object) || strncmp(name, object, strlen(object)) != 0) {
        return false;
    }
    (void)snprintf(member, sizeof(member), "%.*s", (int)(len - strlen(object)),
                   name + strlen(object));
    row = param_of_kind(kind, member);
    if (!row || (!row->is_required && is_option(row))) {
        return false;
    }
    if (!row->is_required) {
        param_option(row->name, word);
    } else if (kind == image_kinds[0]) {
        (void)snprintf(word, IMAGE_WORD_BYTES, "IMAGE");
    } else {
        (void)snprintf(word, IMAGE_WORD_BYTES, "the %s of a %s image", row->name, kind->name);
    }
    return true;
}
