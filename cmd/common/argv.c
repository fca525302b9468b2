/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/common/argv.h"

#include <errno.h>
#include <string.h>

#define NAME_MAX_BYTES 64u

/* More wrong characters than these, and it was not this option that was meant. */
#define DISTANCE_MAX 2u

static const struct option *find(const struct option *list, const char *name, size_t len)
{
    for (; list->name; list++) {
        if (strlen(list->name) == len && strncmp(list->name, name, len) == 0) {
            return list;
        }
    }
    return NULL;
}

/* How many characters are wrong, missing or too much: the distance of Levenshtein, row by row. */
static unsigned distance(const char *a, size_t a_len, const char *b)
{
    unsigned row[NAME_MAX_BYTES];
    size_t b_len = strlen(b);

    if (a_len >= NAME_MAX_BYTES || b_len >= NAME_MAX_BYTES) {
        return NAME_MAX_BYTES;
    }
    for (unsigned i = 0; i <= b_len; i++) {
        row[i] = i;
    }
    for (unsigned k = 0; k < a_len; k++) {
        unsigned diagonal = row[0];

        row[0] = k + 1;
        for (size_t i = 0; i < b_len; i++) {
            unsigned changed = diagonal + (a[k] != b[i]);
            unsigned shifted = min_of(row[i], row[i + 1]) + 1;

            diagonal = row[i + 1];
            row[i + 1] = min_of(changed, shifted);
        }
    }
    return row[b_len];
}

/* The only one that begins so.  NULL: there is none, or more than one. */
static const struct option *find_longer(const struct option *list, const char *name, size_t len)
{
    const struct option *longer = NULL;

    for (; list->name; list++) {
        if (len > 0 && strncmp(list->name, name, len) == 0) {
            if (longer) {
                return NULL;
            }
            longer = list;
        }
    }
    return longer;
}

const struct option *argv_guess(const struct option *list, const char *name, size_t len)
{
    const struct option *best = find_longer(list, name, len);
    unsigned least = DISTANCE_MAX + 1;

    if (best || len <= DISTANCE_MAX) {
        return best;
    }
    for (; list->name; list++) {
        unsigned wrong = distance(name, len, list->name);

        if (wrong < least) {
            best = list;
            least = wrong;
        }
    }
    return best;
}

static int refuse_unknown(const struct option *list, const char *word, struct err *err)
{
    size_t hyphens = word[1] == '-' ? 2 : 1;
    size_t len = strcspn(word + hyphens, "=");
    const struct option *meant = find(list, word + hyphens, len);

    if (!meant) {
        meant = argv_guess(list, word + hyphens, len);
    }
    (void)err_say(err, -EINVAL, "unknown option %.*s", (int)(hyphens + len), word);
    if (meant) {
        err_hint(err, "did you mean --%s?", meant->name);
    }
    return -EINVAL;
}

/* An option, and the word behind it.  Returns how many words it takes, or -EINVAL. */
static int check_option(const struct option *list, const char *word, const char *next,
                        struct err *err)
{
    size_t len = strcspn(word + 2, "=");
    bool has_value = word[2 + len] == '=';
    const struct option *option = word[1] == '-' ? find(list, word + 2, len) : NULL;

    if (!option) {
        return refuse_unknown(list, word, err);
    }
    if (option->has_arg == no_argument) {
        return has_value ? err_say(err, -EINVAL, "--%s takes no value", option->name) : 1;
    }
    if (!has_value && !next) {
        return err_say(err, -EINVAL, "--%s needs a value", option->name);
    }
    return has_value ? 1 : 2;
}

int argv_check(int argc, char *const *argv, const struct option *list, bool ends_at_operand,
               struct err *err)
{
    int at = 1;

    while (at < argc && strcmp(argv[at], "--") != 0) {
        bool is_option = argv[at][0] == '-' && argv[at][1] != '\0';
        int words;

        if (!is_option && ends_at_operand) {
            break;
        }
        words = is_option ? check_option(list, argv[at], argv[at + 1], err) : 1;
        if (words < 0) {
            return words;
        }
        at += words;
    }
    return 0;
}
