/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/fixed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/options.h"

/* A row, and the kind whose own it is; NULL: it is an option of `add`. */
struct found {
    const struct param *row;
    const struct param_kind *kind;
};

static bool is_called(const struct param *row, const char *key, size_t len)
{
    char option[PARAM_OPTION_BYTES];

    param_option(row->name, option);
    return strlen(option) == len && strncmp(option, key, len) == 0;
}

static const struct param_kind *first_with(const struct param_kind *const *kinds, const char *name)
{
    while (!param_of_kind(*kinds, name)) {
        kinds++;
    }
    return *kinds;
}

/* Can people say it?  What a kind requires is a part of the operand. */
static bool is_sayable(const struct param *row, const struct param_kind *kind)
{
    if (row->type == PARAM_KIND || kind) {
        return !row->is_required;
    }
    return row->is_required || row->type != PARAM_OBJECT;
}

/* Of kinds, the options of add are those of the first: see options.c. */
static bool find_row(const struct param *table, const char *key, size_t len, struct found *found)
{
    struct param_walk at = param_walk(table);

    while (param_walk_next(&at)) {
        const struct param_kind *kind =
            at.chooser ? first_with(at.chooser->kinds, at.param->name) : NULL;
        const struct param *row = kind ? param_of_kind(kind, at.param->name) : at.param;

        if (row->type == PARAM_OBJECT && find_row(row->members, key, len, found)) {
            return true;
        }
        if (is_called(row, key, len) && is_sayable(row, kind)) {
            bool is_option = !kind || kind == at.chooser->kinds[0];

            *found = (struct found){.row = row, .kind = is_option ? NULL : kind};
            return true;
        }
    }
    return false;
}

/* "--serial TEXT", "another IMAGE", "null:...,delay-ms=N". */
static void say_how(const struct found *found, const char *option, const char *value, char *how,
                    size_t size)
{
    const char *word = options_word(found->row);

    value = *value || !word ? value : word;
    if (found->row->is_required) {
        (void)snprintf(how, size, "another %s", option);
    } else if (found->kind) {
        (void)snprintf(how, size, "%s:...,%s=%s", found->kind->name, option, value);
    } else if (found->row->type == PARAM_BOOL) {
        (void)snprintf(how, size, "--%s, or without", option);
    } else {
        (void)snprintf(how, size, "--%s %s", option, value);
    }
}

int fixed_refuse(const struct param *table, const char *name, const char *key, struct err *err)
{
    size_t len = strcspn(key, "=");
    const char *value = key[len] == '=' ? key + len + 1 : "";
    char option[PARAM_OPTION_BYTES];
    char how[160];
    struct found found;

    if (len == 0 || !table || !find_row(table, key, len, &found)) {
        return 0;
    }
    param_option(found.row->name, option);
    say_how(&found, option, value, how, sizeof(how));
    return err_say(err, -EINVAL, "%s%s%s is fixed at add: remove the disk, then add it with %s",
                   name, name[0] ? ": " : "", option, how);
}
