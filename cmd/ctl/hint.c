/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/hint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/base.h"
#include "core/base/text.h"
#include "daemon/protocol.h"

/* "vblkctl" alone may be of a path, which stays as it is. */
static const char *const begins[] = PROTOCOL_COMMANDS;

/* What follows the next "vblkctl " of a command; NULL: there is none. */
static const char *next_command(const char *text)
{
    const char *next = NULL;

    for (unsigned i = 0; i < ARRAY_SIZE(begins); i++) {
        const char *found = strstr(text, begins[i]);

        if (found && (!next || found + strlen(begins[i]) < next)) {
            next = found + strlen(begins[i]);
        }
    }
    return next;
}

char *hint_complete(const char *text, const char *control)
{
    char quoted[TEXT_QUOTED_BYTES];
    char *whole = NULL;
    size_t size;
    FILE *out;

    if (!control || !next_command(text)) {
        return NULL;
    }
    out = open_memstream(&whole, &size);
    if (!out) {
        return NULL;
    }
    for (const char *next = next_command(text); next; next = next_command(text)) {
        fprintf(out, "%.*s--control %s ", (int)(next - text), text, text_quote(control, quoted));
        text = next;
    }
    fputs(text, out);
    if (fclose(out) != 0) {
        free(whole);
        return NULL;
    }
    return whole;
}

static void complete_sentence(json_t *value, const char *control)
{
    char *text = json_is_string(value) ? hint_complete(json_string_value(value), control) : NULL;

    if (text) {
        (void)json_string_set(value, text); /* without memory it stays */
    }
    free(text);
}

void hint_complete_answer(json_t *answer, const char *control)
{
    size_t i;
    const char *key;
    json_t *value;

    json_array_foreach(answer, i, value)
    {
        hint_complete_answer(value, control);
    }
    json_object_foreach(answer, key, value)
    {
        if (strcmp(key, "text") == 0 || strcmp(key, "reason") == 0) {
            complete_sentence(value, control);
        }
        hint_complete_answer(value, control);
    }
}
