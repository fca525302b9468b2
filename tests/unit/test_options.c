/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/ctl/fixed.h"
#include "cmd/ctl/options.h"
#include "daemon/disk_params.h"

/* What a daemon with more in its tables than ours would have. */
struct target {
    char name[8];
    char kind[8];
    char path[8];
    char mode[8];
    bool is_fast;
    int64_t number;
    int64_t power;
    int64_t size;
    int64_t inner_rate;
};

#define AT(member) .offset = offsetof(struct target, member)

static const char *const modes[] = {"fast", "slow", "still", NULL};
static const char *const one[] = {"raw", NULL};

static const struct param file_rows[] = {
    {"path", PARAM_PATH, AT(path), .size = 8, .is_required = true, .help = "where"},
    {"format", PARAM_STRING, AT(mode), .size = 8, .choices = one, .help = "raw: as it is",
     .otherwise = "others are refused", .word = "FORMAT"},
    {"size", PARAM_BYTES, AT(size), .max = 9, .help = "how large"},
    {.name = NULL},
};
static const struct param null_rows[] = {
    {"size", PARAM_BYTES, AT(size), .is_required = true, .max = 9, .help = "how large"},
    {"delay", PARAM_INTEGER, AT(number), .max = 9, .help = "how long"},
    {.name = NULL},
};
static const struct param_kind file = {"file", file_rows};
static const struct param_kind null = {"null", null_rows};
static const struct param_kind *const image_types[] = {&file, &null, NULL};
static const struct param image_rows[] = {
    {"type", PARAM_KIND, AT(kind), .size = 8, .is_required = true, .kinds = image_types,
     .help = "which"},
    {.name = NULL},
};
static const struct param limit_rows[] = {
    {"rate_max", PARAM_INTEGER, AT(inner_rate), .value = 5, .min = 1, .max = 9, .help = "so many"},
    {.name = NULL},
};
static const struct param live_rows[] = {
    {"mode", PARAM_STRING, AT(mode), .size = 8, .text = "slow", .choices = modes, .word = "MODE",
     .help = "how"},
    {"limits", PARAM_OBJECT, .members = limit_rows, .help = "of its speed"},
    {.name = NULL},
};
static const struct param rows[] = {
    {"name", PARAM_STRING, AT(name), .size = 8, .is_required = true, .help = "what it is called"},
    {"image", PARAM_OBJECT, .is_required = true, .members = image_rows, .help = "the bytes"},
    {"fast", PARAM_BOOL, AT(is_fast), .help = "quickly"},
    {"queue_size", PARAM_INTEGER, AT(power), .value = 4, .min = 2, .max = 8, .is_power_of_2 = true,
     .help = "how many"},
    {"live", PARAM_GROUP, .members = live_rows},
    {.name = NULL},
};

static const struct command add = {
    .name = "add",
    .params = rows,
    .options = {{.kind = ARG_SECONDS, .option = "timeout", .word = "S", .param = "timeout_ms"}},
};
static const struct command set = {.name = "set", .settings = live_rows};

static void assert_arg(const struct arg *arg, enum arg_kind kind, const char *option,
                       const char *word, const char *param, const char *help)
{
    assert_int_equal(arg->kind, kind);
    assert_string_equal(arg->option, option);
    assert_string_equal(arg->word ? arg->word : "", word);
    assert_string_equal(arg->param, param);
    assert_string_equal(arg->help ? arg->help : "", help);
}

static void rows_are_options_and_what_is_required_is_none(void **state)
{
    const struct arg *arg = options_of(&add);

    assert_arg(arg++, ARG_TEXT, "format", "FORMAT", "image.format",
               "raw: as it is [others are refused]");
    assert_arg(arg++, ARG_SIZE, "size", "SIZE", "image.size", "how large");
    assert_arg(arg++, ARG_FLAG, "fast", "", "fast", "quickly");
    assert_arg(arg++, ARG_NUMBER, "queue-size", "N", "queue_size",
               "how many, a power of two, 2-8 [4]");
    assert_arg(arg++, ARG_TEXT, "mode", "MODE", "mode", "how: fast, slow or still [slow]");
    assert_arg(arg++, ARG_NUMBER, "rate-max", "N", "limits.rate_max", "so many, 1-9 [5]");
    assert_arg(arg++, ARG_SECONDS, "timeout", "S", "timeout_ms", "");
    assert_int_equal(arg->kind, ARG_END);
}

static void settings_are_options_under_the_same_names(void **state)
{
    const struct arg *setting = settings_of(&set);

    assert_arg(setting++, ARG_TEXT, "mode", "MODE", "mode", "how: fast, slow or still [slow]");
    assert_arg(setting++, ARG_NUMBER, "rate-max", "N", "limits.rate_max", "so many, 1-9 [5]");
    assert_int_equal(setting->kind, ARG_END);
    assert_int_equal(settings_of(&add)->kind, ARG_END);
    assert_int_equal(options_of(&set)->kind, ARG_END);
}

static void answers_have_values_within_objects(void **state)
{
    json_auto_t *answer = json_pack("{s:s, s:{s:i}}", "mode", "fast", "limits", "rate_max", 7);
    json_auto_t *before = json_pack("{s:s}", "mode", "fast");
    const struct arg *setting = settings_of(&set);

    assert_string_equal(json_string_value(options_value(answer, &setting[0])), "fast");
    assert_int_equal(json_integer_value(options_value(answer, &setting[1])), 7);
    assert_null(options_value(before, &setting[1]));
}

static void assert_fixed(const struct param *table, const char *name, const char *key,
                         const char *text)
{
    struct err err = {0};

    assert_int_equal(fixed_refuse(table, name, key, &err), -EINVAL);
    assert_string_equal(err.text, text);
}

static void what_is_fixed_is_told_with_the_words_of_add(void **state)
{
    struct err err = {0};

    assert_fixed(rows, "vda", "queue-size=8",
                 "vda: queue-size is fixed at add: remove the disk, then add it with "
                 "--queue-size 8");
    assert_fixed(rows, "vda", "queue-size=",
                 "vda: queue-size is fixed at add: remove the disk, then add it with "
                 "--queue-size N");
    assert_fixed(rows, "", "fast=no",
                 "fast is fixed at add: remove the disk, then add it with --fast, or without");
    assert_fixed(rows, "vda", "image",
                 "vda: image is fixed at add: remove the disk, then add it with another image");
    assert_fixed(rows, "vda", "size=3",
                 "vda: size is fixed at add: remove the disk, then add it with --size 3");
    assert_fixed(rows, "vda", "delay=3",
                 "vda: delay is fixed at add: remove the disk, then add it with null:...,delay=3");
    for (const char *const *key =
             (const char *const[]){"", "=", "path=/a", "kind=null", "queue_size=8", "limits=1",
                                   "queue-siz=8", "nothing", NULL};
         *key; key++) {
        assert_int_equal(fixed_refuse(rows, "vda", *key, &err), 0);
    }
    assert_int_equal(fixed_refuse(NULL, "vda", "fast", &err), 0);
}

/* Whatever rows there are by now: what add takes, set takes or explains. */
static void each_option_of_a_disk_can_be_set_or_is_told_to_be_fixed(void **state)
{
    static const struct command add_disk = {.name = "add", .params = disk_params};
    static const struct command set_disk = {.name = "set", .settings = settings_params};
    unsigned fixed = 0, set_too = 0;

    for (const struct arg *arg = options_of(&add_disk); arg->kind != ARG_END; arg++) {
        const struct arg *setting = settings_of(&set_disk);
        struct err err = {0};
        char how[PARAM_OPTION_BYTES + 8];

        while (setting->kind != ARG_END && strcmp(setting->option, arg->option) != 0) {
            setting++;
        }
        if (setting->kind != ARG_END) {
            set_too++;
            continue;
        }
        (void)snprintf(how, sizeof(how), "add it with --%s", arg->option);
        assert_int_equal(fixed_refuse(disk_params, "vda", arg->option, &err), -EINVAL);
        assert_non_null(strstr(err.text, "is fixed at add: remove the disk, then "));
        assert_non_null(strstr(err.text, how));
        fixed++;
    }
    assert_true(fixed > 20);
    assert_true(set_too >= 7);
}

static void assert_spelled(const char *disk, const char *text, const char *spelled)
{
    char buffer[80];

    (void)snprintf(buffer, sizeof(buffer), "%s", text);
    options_spell(&add, disk, buffer);
    assert_string_equal(buffer, spelled);
}

static void what_a_sentence_names_is_spelled_as_it_is_typed(void **state)
{
    assert_spelled("vda", "queue_size: too few (queue_size); give queue_size, or queue_size 4",
                   "queue-size: too few (queue-size); give queue-size, or queue-size 4");
    assert_spelled("queue_size", "queue_size: it runs", "queue_size: it runs");
    assert_spelled(NULL, "/srv/queue_size/a (timeout_ms)queue_sizes _",
                   "/srv/queue_size/a (timeout_ms)queue_sizes _");
    assert_spelled("vda", "", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_options_and_what_is_required_is_none),
        cmocka_unit_test(settings_are_options_under_the_same_names),
        cmocka_unit_test(answers_have_values_within_objects),
        cmocka_unit_test(what_is_fixed_is_told_with_the_words_of_add),
        cmocka_unit_test(each_option_of_a_disk_can_be_set_or_is_told_to_be_fixed),
        cmocka_unit_test(what_a_sentence_names_is_spelled_as_it_is_typed),
    };

    return unit_run(tests);
}
