/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/guest/bare/bare.h"

static const char *command_line = "";

void options_init(const char *line)
{
    command_line = line;
}

static bool ends(char c)
{
    return c == '\0' || c == ' ' || c == '\n';
}

/* What follows `prefix` in `text`, NULL: it does not begin so. */
static const char *after(const char *text, const char *prefix)
{
    for (; *prefix; prefix++, text++) {
        if (*text != *prefix) {
            return NULL;
        }
    }
    return text;
}

/* The value of the first word NAME=VALUE at or behind `word`. */
static const char *search(const char *word, const char *name)
{
    while (*word) {
        const char *rest = after(word, name);

        if (rest && *rest == '=') {
            return rest + 1;
        }
        while (!ends(*word)) {
            word++;
        }
        while (*word && ends(*word)) {
            word++;
        }
    }
    return NULL;
}

const char *option_text(const char *name)
{
    return search(command_line, name);
}

const char *option_next(const char *name, const char *value)
{
    return search(value, name);
}

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (unsigned)(c - 'a') + 10;
    }
    return 99;
}

uint64_t number_of(const char **text)
{
    const char *hex = after(*text, "0x");
    unsigned base = hex ? 16 : 10;
    uint64_t value = 0;

    if (hex) {
        *text = hex;
    }
    for (; digit_of(**text) < base; ++*text) {
        value = value * base + digit_of(**text);
    }
    if (**text == 'K' || **text == 'M' || **text == 'G') {
        value <<= **text == 'K' ? 10 : **text == 'M' ? 20 : 30;
        ++*text;
    }
    return value;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
    const char *text = option_text(name);

    return text ? number_of(&text) : otherwise;
}

bool option_is(const char *name, const char *value, bool otherwise)
{
    const char *text = option_text(name);
    const char *rest = text ? after(text, value) : NULL;

    return text ? rest && ends(*rest) : otherwise;
}
