/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "cmd/common/argv.h"

#define WORDS_MAX 8

static const struct option list[] = {
    {"timeout", required_argument, NULL, 't'},
    {"size", required_argument, NULL, 's'},
    {"serial", required_argument, NULL, 'n'},
    {"force", no_argument, NULL, 'f'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* Words up to a NULL, as behind the program's name. */
static int check(const char *const *words, bool ends_at_operand, struct err *err)
{
    char *argv[WORDS_MAX + 2] = {(char *)"program"};
    int argc = 1;

    for (; words[argc - 1]; argc++) {
        argv[argc] = (char *)words[argc - 1]; /* as main gets them, never written */
    }
    *err = (struct err){0};
    return argv_check(argc, argv, list, ends_at_operand, err);
}

#define accepted(...)                                                                      \
    do {                                                                                   \
        struct err err;                                                                    \
                                                                                           \
        assert_int_equal(check((const char *const[]){__VA_ARGS__, NULL}, false, &err), 0); \
    } while (0)

#define refused(text_, ...)                                                                      \
    do {                                                                                         \
        struct err err;                                                                          \
                                                                                                 \
        assert_int_equal(check((const char *const[]){__VA_ARGS__, NULL}, false, &err), -EINVAL); \
        assert_string_equal(err.text, text_);                                                    \
    } while (0)

static void names_in_full_are_accepted(void **state)
{
    accepted("--timeout", "3");
    accepted("--timeout=3", "--json");
    accepted("vda", "--size", "1G", "img", "--force");
    accepted("-");
    accepted("");
}

static void beginnings_of_names_are_not(void **state)
{
    refused("unknown option --time; did you mean --timeout?", "--time", "2");
    refused("unknown option --time; did you mean --timeout?", "--time=2");
    refused("unknown option --for; did you mean --force?", "vda", "--for");
    refused("unknown option --j; did you mean --json?", "--j");
}

static void beginning_of_several_names_is_no_guess(void **state)
{
    refused("unknown option --s", "--s", "1");
    refused("unknown option --s", "--s=1");
}

static void slips_are_understood(void **state)
{
    refused("unknown option --tiemout; did you mean --timeout?", "--tiemout", "2");
    refused("unknown option --sise; did you mean --size?", "--sise", "2");
    refused("unknown option --forced; did you mean --force?", "--forced");
    refused("unknown option --jsom; did you mean --json?", "--jsom");
    refused("unknown option --colour", "--colour", "red");
    refused("unknown option --x", "--x");
}

static void single_hyphen_is_no_option(void **state)
{
    refused("unknown option -help; did you mean --help?", "-help");
    refused("unknown option -h; did you mean --help?", "-h");
    refused("unknown option -5", "-5");
}

static void value_is_where_it_belongs(void **state)
{
    refused("--size needs a value", "vda", "--size");
    refused("--json takes no value", "--json=yes");
    refused("--json takes no value", "--json=");
    accepted("--size=");
    accepted("--size", "");
    accepted("--size", "--nonsense");
    accepted("--serial", "--size");
    refused("unknown option --nonsense", "--size", "--size", "--nonsense");
}

static void what_follows_two_hyphens_is_left_alone(void **state)
{
    accepted("--", "--nonsense");
    accepted("vda", "--", "-x");
    refused("unknown option --nonsense", "--size", "--", "--nonsense");
}

static void look_ends_at_the_first_operand_when_told(void **state)
{
    struct err err;

    assert_int_equal(check((const char *const[]){"--json", "add", "--nonsense", NULL}, true, &err),
                     0);
    assert_int_equal(check((const char *const[]){"--nonsense", "add", NULL}, true, &err), -EINVAL);
    assert_int_equal(check((const char *const[]){"add", "--nonsense", NULL}, false, &err), -EINVAL);
}

static void names_of_any_length_are_looked_at(void **state)
{
    char word[1024];
    struct err err;

    memset(word, 'x', sizeof(word) - 1);
    memcpy(word, "--", 2);
    word[sizeof(word) - 1] = '\0';
    assert_int_equal(check((const char *const[]){word, NULL}, false, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_in_full_are_accepted),
        cmocka_unit_test(beginnings_of_names_are_not),
        cmocka_unit_test(beginning_of_several_names_is_no_guess),
        cmocka_unit_test(slips_are_understood),
        cmocka_unit_test(single_hyphen_is_no_option),
        cmocka_unit_test(value_is_where_it_belongs),
        cmocka_unit_test(what_follows_two_hyphens_is_left_alone),
        cmocka_unit_test(look_ends_at_the_first_operand_when_told),
        cmocka_unit_test(names_of_any_length_are_looked_at),
    };

    return unit_run(tests);
}
