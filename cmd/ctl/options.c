/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/options.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/base/param.h"

#define OPTIONS_MAX 96

struct options {
    struct arg arg[OPTIONS_MAX + 1]; /* the last one stays ARG_END */
    struct option_text {
        char option[PARAM_OPTION_BYTES];
        char param[2 * PARAM_OPTION_BYTES];
        char help[200];
    } text[OPTIONS_MAX];
    unsigned count;
};

/* Of an object nobody says the value. */
static const struct {
    enum arg_kind kind;
    const char *word;
} kinds[PARAM_GROUP + 1] = {
    [PARAM_STRING] = {ARG_TEXT, "TEXT"},  [PARAM_PATH] = {ARG_PATH, "PATH"},
    [PARAM_BOOL] = {ARG_FLAG, NULL},      [PARAM_INTEGER] = {ARG_NUMBER, "N"},
    [PARAM_BYTES] = {ARG_SIZE, "SIZE"},   [PARAM_USER] = {ARG_USER, "USER"},
    [PARAM_USERS] = {ARG_USERS, "GROUP"},
};

enum arg_kind options_kind(const struct param *row)
{
    return row->is_place ? ARG_PLACE : kinds[row->type].kind;
}

const char *options_word(const struct param *row)
{
    return row->word ? row->word : kinds[row->type].word;
}

/* ": none, directsync or writeback" */
static size_t say_choices(const struct param *row, char *text, size_t size)
{
    const char *const *choice = row->choices;
    size_t used = 0;

    if (!choice || !choice[1]) {
        return 0;
    }
    for (unsigned i = 0; choice[i] && used < size; i++) {
        const char *before = i == 0 ? ": " : choice[i + 1] ? ", " : " or ";

        used += (size_t)snprintf(text + used, size - used, "%s%s", before, choice[i]);
    }
    return min_of(used, size);
}

static size_t say_range(const struct param *row, char *text, size_t size)
{
    if (row->type != PARAM_INTEGER) {
        return 0;
    }
    return (size_t)snprintf(text, size, "%s, %" PRId64 "-%" PRId64,
                            row->is_power_of_2 ? ", a power of two" : "", row->min, row->max);
}

static void say_default(const struct param *row, char *text, size_t size)
{
    if (row->otherwise || row->text) {
        (void)snprintf(text, size, " [%s]", row->otherwise ? row->otherwise : row->text);
    } else if (row->type == PARAM_INTEGER) {
        (void)snprintf(text, size, " [%" PRId64 "]", row->value);
    }
}

/* "the most that a guest may use, 1-64 [16]" */
static void say_help(const struct param *row, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%s", row->help);

    used += say_choices(row, text + used, size - used);
    used += say_range(row, text + used, size - used);
    assert(used < size);
    say_default(row, text + used, size - used);
}

static void add_row(struct options *options, const char *object, const struct param *row)
{
    struct option_text *text = &options->text[options->count];

    assert(options->count < OPTIONS_MAX);
    param_option(row->name, text->option);
    (void)snprintf(text->param, sizeof(text->param), "%s%s%s", object, object[0] ? "." : "",
                   row->name);
    say_help(row, text->help, sizeof(text->help));
    options->arg[options->count++] = (struct arg){
        .kind = options_kind(row),
        .option = text->option,
        .word = options_word(row),
        .param = text->param,
        .help = text->help,
    };
}

/*
 * What is required is an operand.  So is what an object of another than the first kind has of its
 * own, see image.h.
 */
static void add_table(struct options *options, const char *object, const struct param *table)
{
    struct param_walk at = param_walk(table);

    while (param_walk_next(&at)) {
        const struct param *row =
            at.chooser ? param_of_kind(at.chooser->kinds[0], at.param->name) : at.param;

        if (row && row->type == PARAM_OBJECT) {
            add_table(options, row->name, row->members);
        } else if (row && !row->is_required) {
            add_row(options, object, row);
        }
    }
}

static void begin(struct options *options, const struct param *table)
{
    memset(options, 0, sizeof(*options));
    if (table) {
        add_table(options, "", table);
    }
}

const struct arg *options_of(const struct command *command)
{
    static struct options options;

    begin(&options, command->params);
    for (const struct arg *own = command->options; own->kind != ARG_END; own++) {
        assert(options.count < OPTIONS_MAX);
        options.arg[options.count++] = *own;
    }
    return options.arg;
}

const struct arg *settings_of(const struct command *command)
{
    static struct options settings;

    begin(&settings, command->settings);
    return settings.arg;
}

const json_t *options_value(const json_t *answer, const struct arg *arg)
{
    const char *dot = strchr(arg->param, '.');
    char object[PARAM_OPTION_BYTES];

    if (!dot) {
        return json_object_get(answer, arg->param);
    }
    (void)snprintf(object, sizeof(object), "%.*s", (int)(dot - arg->param), arg->param);
    return json_object_get(json_object_get(answer, object), dot + 1);
}

const struct arg *options_find(const struct arg *list, const char *name, size_t len)
{
    for (; list->kind != ARG_END; list++) {
        if (list->param && strlen(list->param) == len && strncmp(list->param, name, len) == 0) {
            return list;
        }
    }
    return NULL;
}

/* It is as long in the words of here. */
static void spell_word(const struct command *command, char *word, size_t len)
{
    const struct arg *known = options_find(settings_of(command), word, len);

    if (!known) {
        known = options_find(options_of(command), word, len);
    }
    if (known && strlen(known->option) == len) {
        memcpy(word, known->option, len);
    }
}

void options_spell(const struct command *command, const char *disk, char *text)
{
    while (*text) {
        size_t len;

        text += strspn(text, "(");
        len = strcspn(text, " :;,)");
        if (!disk || strlen(disk) != len || strncmp(disk, text, len) != 0) {
            spell_word(command, text, len);
        }
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
}
