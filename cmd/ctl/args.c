/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/args.h"

#include <config.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/common/argv.h"
#include "cmd/ctl/fixed.h"
#include "cmd/ctl/help.h"
#include "cmd/ctl/hint.h"
#include "cmd/ctl/image.h"
#include "cmd/ctl/options.h"
#include "cmd/ctl/value.h"
#include "core/base/log.h"

/* What getopt_long returns: the index of the option, out of the way of letters. */
#define OPTION_BASE 1000

/* Those of a command and the global ones, with the end. */
#define LIST_MAX 128

/* ---- values ---- */

static int complain(const struct args *args, const struct err *err)
{
    log_plain("vblkctl: %s", err->text);
    help_hint(args->command);
    return STATUS_USAGE;
}

/* "image.size" goes into the object "image", which is made when it is not there. */
static json_t *object_of(json_t *params, const char **param)
{
    const char *dot = strchr(*param, '.');
    char name[PARAM_OPTION_BYTES];
    json_t *object;

    if (!dot) {
        return params;
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(dot - *param), *param);
    *param = dot + 1;
    object = json_object_get(params, name);
    if (!object) {
        object = json_object();
        (void)json_object_set_new(params, name, object);
    }
    return object;
}

static int set_image(struct args *args, const struct arg *arg, const char *text)
{
    struct err err = {0};
    json_t *image = json_object_get(args->params, arg->param);

    if (!image) {
        image = json_object();
        (void)json_object_set_new(args->params, arg->param, image);
    }
    return image_parse(text, image, &err) < 0 ? complain(args, &err) : STATUS_OK;
}

static int set_value(struct args *args, const struct arg *arg, const char *text)
{
    struct err why = {0};
    struct err err = {0};
    const char *param = arg->param ? arg->param : arg->option;
    json_t *object = arg->param ? object_of(args->params, &param) : args->own;
    json_t *value = value_parse(arg->kind, text, &why);

    if (!value) {
        (void)err_say(&err, -EINVAL, "%s%s: %s", arg->option ? "--" : "",
                      arg->option ? arg->option : arg->word, why.text);
        return complain(args, &err);
    }
    (void)json_object_set_new(object, param, value);
    return STATUS_OK;
}

/* ---- options ---- */

/* The global ones and, after the command, its own.  `list` has room for all. */
static void fill_list(struct option *list, const struct arg *args, int base)
{
    for (int i = 0; args[i].kind != ARG_END; i++) {
        list[i].name = args[i].option;
        list[i].has_arg = args[i].kind == ARG_FLAG ? no_argument : required_argument;
        list[i].val = base + i;
    }
}

static int count_args(const struct arg *args)
{
    int count = 0;

    while (args[count].kind != ARG_END) {
        count++;
    }
    return count;
}

static int print_version(void)
{
    printf("vblkctl %s\n", PACKAGE_VERSION);
    return STATUS_OK;
}

/* Returns an exit status, or -1 to go on. */
static int set_global(struct args *args, const struct arg *arg, const char *value)
{
    if (strcmp(arg->option, "help") == 0) {
        help_print(args->command);
        return STATUS_OK;
    }
    if (strcmp(arg->option, "version") == 0) {
        return print_version();
    }
    if (strcmp(arg->option, "json") == 0) {
        args->is_json = true;
    } else {
        args->control = value;
        args->typed = value[0] ? value : NULL;
    }
    return -1;
}

static const struct arg *find_name(const struct arg *list, const char *name, size_t len)
{
    for (; list->kind != ARG_END; list++) {
        if (strlen(list->option) == len && strncmp(list->option, name, len) == 0) {
            return list;
        }
    }
    return NULL;
}

/* The setting that "--KEY" or "--KEY=VALUE" names; NULL: there is none. */
static const struct arg *setting_of_option(const struct command *command, const char *word)
{
    const char *name = word + strspn(word, "-");

    return name == word ? NULL : find_name(settings_of(command), name, strcspn(name, "="));
}

static const char *value_of_option(char **word, const char *otherwise)
{
    const char *equals = strchr(word[0], '=');

    if (equals) {
        return equals + 1;
    }
    return word[1] && word[1][0] != '-' ? word[1] : otherwise;
}

/* They are options of another command, and taken for options of this one. */
static void explain_settings(const struct command *command, char **words, struct err *err)
{
    for (; *words && strcmp(*words, "--") != 0; words++) {
        const char *name = *words + strspn(*words, "-");
        const struct arg *setting = setting_of_option(command, *words);

        if (setting) {
            (void)err_say(err, -EINVAL,
                          "unknown option --%s; settings are given as KEY=VALUE: %s=%s",
                          setting->option, setting->option, value_of_option(words, setting->word));
            return;
        }
        if (name != *words && fixed_refuse(command->fixed, "", name, err) < 0) {
            return;
        }
    }
}

/* No command, no options of its own. */
static const struct arg no_args[] = {{.kind = ARG_END}};

/* `mode` "+": stop at the first operand.  Returns an exit status, or -1 to go on. */
static int parse_options(struct args *args, int argc, char **argv, const char *mode)
{
    struct option list[LIST_MAX] = {{0}};
    const struct arg *own = args->command ? options_of(args->command) : no_args;
    int globals = count_args(global_options);
    struct err err = {0};
    int letter;
    int ret = -1;

    assert(globals + count_args(own) < LIST_MAX);
    fill_list(list, global_options, OPTION_BASE);
    fill_list(list + globals, own, OPTION_BASE + globals);
    if (argv_check(argc, argv, list, mode[0] == '+', &err) < 0) {
        if (args->command) {
            explain_settings(args->command, argv, &err);
        }
        return complain(args, &err);
    }
    while (ret < 0 && (letter = getopt_long(argc, argv, mode, list, NULL)) != -1) {
        if (letter < OPTION_BASE + globals) {
            ret = set_global(args, &global_options[letter - OPTION_BASE], optarg);
        } else {
            int status = set_value(args, &own[letter - OPTION_BASE - globals], optarg);

            ret = status == STATUS_OK ? -1 : status;
        }
    }
    return ret;
}

/* ---- operands ---- */

/* What follows "KEY=" in what `text` sets; `*setting` is KEY.  NULL: there is none. */
static const char *find_setting(const struct command *command, const char *text,
                                const struct arg **setting)
{
    size_t len = strcspn(text, "=");

    *setting = find_name(settings_of(command), text, len);
    return *setting && text[len] == '=' ? text + len + 1 : NULL;
}

/* The setting that was most likely meant, or all that there are. */
static void hint_setting(const struct command *command, const char *text, struct err *err)
{
    const struct arg *settings = settings_of(command);
    struct option list[LIST_MAX] = {{0}};
    const struct option *meant;

    assert(count_args(settings) < LIST_MAX);
    fill_list(list, settings, 0);
    meant = strchr(text, '=') ? argv_guess(list, text, strcspn(text, "=")) : NULL;
    if (meant) {
        err_hint(err, "did you mean %s=%s?", meant->name, settings[meant->val].word);
        return;
    }
    for (const struct arg *arg = settings; arg->kind != ARG_END; arg++) {
        size_t used = strlen(err->text);

        (void)snprintf(err->text + used, sizeof(err->text) - used, "%s%s=%s",
                       arg == settings ? "; there are " : ", ", arg->option, arg->word);
    }
}

static int refuse_setting(const struct args *args, const char *text, struct err *err)
{
    const char *disk = json_string_value(json_object_get(args->params, "name"));
    bool is_known = find_name(settings_of(args->command), text, strcspn(text, "="));

    if (!is_known && fixed_refuse(args->command->fixed, disk ? disk : "", text, err) < 0) {
        return -EINVAL;
    }
    (void)err_say(err, -EINVAL, "\"%s\" is %s", text,
                  strchr(text, '=') ? "no setting" : "not of the form KEY=VALUE");
    hint_setting(args->command, text, err);
    return -EINVAL;
}

static int read_setting(struct args *args, const char *text, struct err *err)
{
    const struct arg *setting;
    const char *value_text = find_setting(args->command, text, &setting);
    const char *member;
    json_t *object;
    json_t *value;

    if (!value_text) {
        return refuse_setting(args, text, err);
    }
    member = setting->param;
    object = object_of(args->params, &member);
    if (json_object_get(object, member)) {
        return err_say(err, -EINVAL, "%s: is given twice", setting->option);
    }
    value = value_text[0] ? value_parse(setting->kind, value_text, err) : NULL;
    if (!value) {
        return err_say(err, -EINVAL, "%s: \"%s\" is no value for it; %s: %s", setting->option,
                       value_text, setting->word, setting->help);
    }
    return json_object_set_new(object, member, value);
}

static int set_setting(struct args *args, const char *text)
{
    struct err err = {0};

    return read_setting(args, text, &err) < 0 ? complain(args, &err) : STATUS_OK;
}

static int set_operand(struct args *args, const struct arg *arg, const char *text)
{
    switch (arg->kind) {
    case ARG_SETTING:
        return set_setting(args, text);
    case ARG_IMAGE:
        return set_image(args, arg, text);
    default:
        return set_value(args, arg, text);
    }
}

/* Options that are taken for settings, "size=1G", or have lost their hyphens. */
static void hint_option(const struct command *command, const char *text, struct err *err)
{
    size_t len = strcspn(text, "=");
    const struct arg *option = find_name(options_of(command), text, len);

    if (option && option->kind != ARG_FLAG && text[len] == '=') {
        err_hint(err, "options are given as --KEY VALUE: --%s %s", option->option, text + len + 1);
    } else if (option) {
        err_hint(err, "did you mean --%s?", option->option);
    }
}

/* Returns STATUS_OK or what complain returns. */
static int set_operands(struct args *args, int count, char **operands)
{
    const struct arg *arg = args->command->operands;
    struct err err = {0};
    int ret = STATUS_OK;

    for (int i = 0; ret == STATUS_OK && i < count; i++) {
        if (arg->kind == ARG_END) {
            (void)err_say(&err, -EINVAL, "%s: unexpected argument \"%s\"", args->command->name,
                          operands[i]);
            hint_option(args->command, operands[i], &err);
            return complain(args, &err);
        }
        ret = set_operand(args, arg, operands[i]);
        arg += arg->is_repeated ? 0 : 1;
    }
    if (ret == STATUS_OK && arg->kind != ARG_END && !arg->is_optional) {
        (void)err_say(&err, -EINVAL, "%s: %s is missing", args->command->name, arg->word);
        return complain(args, &err);
    }
    return ret;
}

/* Returns an exit status, or -1 to go on. */
static int parse_operands(struct args *args, int count, char **operands)
{
    const struct command *command = args->command;
    struct err err = {0};
    int ret = set_operands(args, count, operands);

    if (ret != STATUS_OK) {
        return ret;
    }
    if (command->check && command->check(args, &err) < 0) {
        return complain(args, &err);
    }
    return -1;
}

static const struct command *find_command(const char *name)
{
    for (const struct command *command = commands; command->name; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static int parse_command(struct args *args, int argc, char **argv)
{
    int ret;

    args->command = find_command(argv[0]);
    if (!args->command) {
        log_plain("vblkctl: \"%s\" is no command", argv[0]);
        help_hint(NULL);
        return STATUS_USAGE;
    }
    optind = 0; /* start over, with the new list */
    ret = parse_options(args, argc, argv, "");
    return ret < 0 ? parse_operands(args, argc - optind, argv + optind) : ret;
}

int args_parse(struct args *args, int argc, char **argv)
{
    int ret;

    memset(args, 0, sizeof(*args));
    args->params = json_object();
    args->own = json_object();
    args->control = getenv("VBLK_CONTROL");
    ret = parse_options(args, argc, argv, "+");
    if (ret >= 0) {
        return ret;
    }
    if (optind >= argc) {
        log_plain("vblkctl: no command");
        help_hint(NULL);
        return STATUS_USAGE;
    }
    return parse_command(args, argc - optind, argv + optind);
}

void args_free(struct args *args)
{
    json_decref(args->params);
    json_decref(args->own);
}

int64_t args_own(const struct args *args, const char *option, int64_t otherwise)
{
    const json_t *value = json_object_get(args->own, option);

    return value ? json_integer_value(value) : otherwise;
}

/* What the daemon calls `name`, of `len` bytes, in the words of here; NULL: it is no option. */
static const char *word_for(const struct args *args, const char *name, size_t len,
                            char word[IMAGE_WORD_BYTES])
{
    const struct arg *setting = options_find(settings_of(args->command), name, len);
    const struct arg *option = options_find(options_of(args->command), name, len);

    if (setting) {
        return setting->option;
    }
    if (image_word(json_object_get(args->params, "image"), name, len, word)) {
        return word;
    }
    if (option) {
        (void)snprintf(word, IMAGE_WORD_BYTES, "--%s", option->option);
    }
    return option ? word : NULL;
}

static void reword(const struct args *args, struct err *err)
{
    const size_t len = strcspn(err->text, ":");
    char buffer[IMAGE_WORD_BYTES];
    const char *word = word_for(args, err->text, len, buffer);
    char rest[sizeof(err->text)];

    if (err->code == -EINVAL && word && err->text[len] == ':') {
        (void)snprintf(rest, sizeof(rest), "%s", err->text + len);
        (void)err_say(err, err->code, "%s%s", word, rest);
    }
}

int args_refused(const struct args *args, int status, struct err *err)
{
    char *whole;

    if (status == STATUS_USAGE) {
        reword(args, err);
    }
    options_spell(args->command, json_string_value(json_object_get(args->params, "name")),
                  err->text);
    if (status == STATUS_USAGE) {
        return complain(args, err);
    }
    whole = hint_complete(err->text, args->typed);
    log_plain("vblkctl: %s", whole ? whole : err->text);
    free(whole);
    return status;
}
