/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/args.h"

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ctl/help.h"
#include "cmd/ctl/image.h"
#include "cmd/ctl/value.h"

/* Letters that getopt_long returns: the index of the option, out of the way of '?'. */
#define OPTION_BASE 1000

/* ---- values ---- */

static int complain(const struct args *args, const struct err *err)
{
    (void)fprintf(stderr, "vblkctl: %s\n", err->text);
    help_hint(args->command);
    return STATUS_USAGE;
}

/* "image.size" goes into the object "image", which is made when it is not there. */
static json_t *object_of(json_t *params, const char **param)
{
    const char *dot = strchr(*param, '.');
    char name[32];
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

static int set_value(struct args *args, const struct arg *arg, const char *text)
{
    struct err err = {0};
    const char *param = arg->param ? arg->param : arg->option;
    json_t *object = arg->param ? object_of(args->params, &param) : args->own;

    if (arg->kind == ARG_IMAGE) {
        json_t *image = json_object_get(args->params, arg->param);

        if (!image) {
            image = json_object();
            (void)json_object_set_new(args->params, arg->param, image);
        }
        (void)image_parse(text, image, &err);
    } else {
        json_t *value = value_parse(arg, text, &err);

        if (value) {
            (void)json_object_set_new(object, param, value);
        }
    }
    return err.code < 0 ? complain(args, &err) : STATUS_OK;
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
    }
    return -1;
}

/* No command, no options of its own. */
static const struct arg no_args[] = {{.kind = ARG_END}};

/* `mode` "+": stop at the first operand.  Returns an exit status, or -1 to go on. */
static int parse_options(struct args *args, int argc, char **argv, const char *mode)
{
    struct option list[COMMAND_OPTIONS * 2] = {{0}};
    const struct arg *own = args->command ? args->command->options : no_args;
    int globals = count_args(global_options);
    int letter;
    int ret = -1;

    fill_list(list, global_options, OPTION_BASE);
    fill_list(list + globals, own, OPTION_BASE + globals);
    while (ret < 0 && (letter = getopt_long(argc, argv, mode, list, NULL)) != -1) {
        if (letter < OPTION_BASE) {
            help_hint(args->command);
            return STATUS_USAGE;
        }
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

    for (*setting = command->settings; (*setting)->kind != ARG_END; (*setting)++) {
        if (text[len] == '=' && strlen((*setting)->option) == len &&
            strncmp((*setting)->option, text, len) == 0) {
            return text + len + 1;
        }
    }
    return NULL;
}

static int refuse_setting(const struct args *args, const char *text, struct err *err)
{
    char known[256] = "";
    size_t used = 0;

    for (const struct arg *arg = args->command->settings;
         arg->kind != ARG_END && used < sizeof(known); arg++) {
        used +=
            (size_t)snprintf(known + used, sizeof(known) - used, "%s%s=%s",
                             arg == args->command->settings ? "" : ", ", arg->option, arg->word);
    }
    return err_say(err, -EINVAL, "\"%s\" is %s; there are %s", text,
                   strchr(text, '=') ? "no setting" : "not of the form KEY=VALUE", known);
}

static int read_setting(struct args *args, const char *text, struct err *err)
{
    const struct arg *setting;
    const char *value_text = find_setting(args->command, text, &setting);
    json_t *value;

    if (!value_text) {
        return refuse_setting(args, text, err);
    }
    if (json_object_get(args->params, setting->param)) {
        return err_say(err, -EINVAL, "%s: is given twice", setting->option);
    }
    value = value_text[0] ? value_parse(setting, value_text, err) : NULL;
    if (!value) {
        return err_say(err, -EINVAL, "%s: \"%s\" is no value for it; %s: %s", setting->option,
                       value_text, setting->word, setting->help);
    }
    return json_object_set_new(args->params, setting->param, value);
}

static int set_setting(struct args *args, const char *text)
{
    struct err err = {0};

    return read_setting(args, text, &err) < 0 ? complain(args, &err) : STATUS_OK;
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
            return complain(args, &err);
        }
        ret = arg->kind == ARG_SETTING ? set_setting(args, operands[i])
                                       : set_value(args, arg, operands[i]);
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
    static char title[64];
    int ret;

    args->command = find_command(argv[0]);
    if (!args->command) {
        (void)fprintf(stderr, "vblkctl: \"%s\" is no command\n", argv[0]);
        help_hint(NULL);
        return STATUS_USAGE;
    }
    (void)snprintf(title, sizeof(title), "vblkctl %s", args->command->name);
    argv[0] = title; /* getopt begins its complaints with it */
    optind = 0;      /* start over, with the new list */
    ret = parse_options(args, argc, argv, "");
    return ret < 0 ? parse_operands(args, argc - optind, argv + optind) : ret;
}

int args_parse(struct args *args, int argc, char **argv)
{
    static char title[] = "vblkctl";
    int ret;

    memset(args, 0, sizeof(*args));
    args->params = json_object();
    args->own = json_object();
    args->control = getenv("VBLK_CONTROL");
    argv[0] = title;
    ret = parse_options(args, argc, argv, "+");
    if (ret >= 0) {
        return ret;
    }
    if (optind >= argc) {
        (void)fprintf(stderr, "vblkctl: no command\n");
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

static const struct arg *find_param(const struct arg *list, const char *name, size_t len)
{
    for (; list->kind != ARG_END; list++) {
        if (list->param && strlen(list->param) == len && strncmp(list->param, name, len) == 0) {
            return list;
        }
    }
    return NULL;
}

void args_reword(const struct args *args, struct err *err)
{
    const struct command *command = args->command;
    const size_t len = strcspn(err->text, ":");
    const struct arg *setting = find_param(command->settings, err->text, len);
    const struct arg *arg = setting ? setting : find_param(command->options, err->text, len);
    char rest[sizeof(err->text)];

    if (err->code == -EINVAL && arg && err->text[len] == ':') {
        (void)snprintf(rest, sizeof(rest), "%s", err->text + len);
        (void)err_say(err, err->code, "%s%s%s", setting ? "" : "--", arg->option, rest);
    }
}
