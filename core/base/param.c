/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/param.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct param_walk param_walk(const struct param *table)
{
    return (struct param_walk){.level = {{.next = table}}, .depth = 1};
}

bool param_has_default(const struct param *param, const void *field)
{
    int64_t number;

    if (param_is_text(param)) {
        return strcmp(field, param->text ? param->text : "") == 0;
    }
    if (param->type == PARAM_BOOL) {
        return !*(const bool *)field;
    }
    memcpy(&number, field, sizeof(number));
    return number == param->value;
}

static struct param_level *top_of(struct param_walk *walk)
{
    return &walk->level[walk->depth - 1];
}

static void enter_level(struct param_walk *walk, const struct param_level *level)
{
    assert(walk->depth < PARAM_DEPTH);
    walk->level[walk->depth++] = *level;
}

/* At the end of a table: go on with the next kind's, or with what is around it. */
static void leave_level(struct param_walk *walk)
{
    struct param_level *level = top_of(walk);

    if (level->kind && level->kind[1]) {
        level->kind++;
        level->next = (*level->kind)->params;
        return;
    }
    if (level->kind) {
        walk->chooser = NULL;
    }
    walk->depth--;
}

/* Have the kinds before this one a row of that name? */
static bool is_passed(const struct param_walk *walk, const struct param_level *level,
                      const char *name)
{
    if (level->kind) {
        for (const struct param_kind *const *kind = walk->chooser->kinds; kind != level->kind;
             kind++) {
            if (param_of_kind(*kind, name)) {
                return true;
            }
        }
    }
    return false;
}

static void stop_at(struct param_walk *walk, const struct param_level *level,
                    const struct param *param)
{
    walk->param = param;
    walk->offset = level->offset + param->offset;
    walk->is_change = level->is_change;
}

static void enter_group(struct param_walk *walk, const struct param *param)
{
    const struct param_level *around = top_of(walk);
    struct param_level group = {
        .next = param->members,
        .offset = around->offset + param->offset,
        .is_change = around->is_change || param->is_change,
    };

    enter_level(walk, &group);
}

/* The row where it is says which kind it is; what they have besides comes next. */
static void enter_kinds(struct param_walk *walk)
{
    struct param_level kinds = *top_of(walk);

    assert(!walk->chooser);
    walk->chooser = walk->param;
    walk->chooser_offset = walk->offset;
    walk->param = NULL;
    kinds.kind = walk->chooser->kinds;
    kinds.next = kinds.kind[0]->params;
    enter_level(walk, &kinds);
}

bool param_walk_next(struct param_walk *walk)
{
    if (walk->param && walk->param->type == PARAM_KIND) {
        enter_kinds(walk);
    }
    while (walk->depth > 0) {
        struct param_level *level = top_of(walk);
        const struct param *param = level->next;

        if (!param->name) {
            leave_level(walk);
            continue;
        }
        level->next++;
        if (param->type == PARAM_GROUP) {
            enter_group(walk, param);
        } else if (!is_passed(walk, level, param->name)) {
            stop_at(walk, level, param);
            return true;
        }
    }
    return false;
}

const struct param *param_of_kind(const struct param_kind *kind, const char *name)
{
    for (const struct param *param = kind ? kind->params : NULL; param && param->name; param++) {
        if (strcmp(param->name, name) == 0) {
            return param;
        }
    }
    return NULL;
}

const struct param_kind *param_find_kind(const struct param_kind *const *kinds, const char *name)
{
    for (; *kinds; kinds++) {
        if (strcmp((*kinds)->name, name) == 0) {
            return *kinds;
        }
    }
    return NULL;
}

const struct param *param_own_row(const struct param_walk *walk, const void *target)
{
    const char *kind = (const char *)target + walk->chooser_offset;

    if (!walk->chooser) {
        return walk->param;
    }
    return param_of_kind(param_find_kind(walk->chooser->kinds, kind), walk->param->name);
}

void param_spell(const char *name, char separator, char spelled[PARAM_OPTION_BYTES])
{
    assert(strlen(name) < PARAM_OPTION_BYTES);
    (void)snprintf(spelled, PARAM_OPTION_BYTES, "%s", name);
    for (char *c = strchr(spelled, '_'); c; c = strchr(c, '_')) {
        *c = separator;
    }
}
