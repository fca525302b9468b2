/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/common/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "daemon/json_memory.h"

static void out_of_memory(void)
{
    log_plain("vblkctl: out of memory");
    exit(EXIT_FAILURE);
}

static void make_string_safe(json_t *string)
{
    size_t len = json_string_length(string);
    char *text = malloc(len * TEXT_ESCAPE_MAX + 1);

    if (!text) {
        out_of_memory();
    }
    (void)text_escape(text, len * TEXT_ESCAPE_MAX + 1, json_string_value(string), len);
    if (json_string_set(string, text) < 0) {
        out_of_memory();
    }
    free(text);
}

/* As deep as jansson reads, 2048 levels at most. */
void answer_make_safe(json_t *value)
{
    size_t i;
    const char *key;
    json_t *item;

    if (json_is_string(value)) {
        make_string_safe(value);
    }
    json_array_foreach(value, i, item)
    {
        answer_make_safe(item);
    }
    json_object_foreach(value, key, item)
    {
        answer_make_safe(item);
    }
}

/* jansson leaves DEL as it is, which can be in a string only. */
bool answer_print_json(const json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags | JSON_COMPACT | JSON_ENSURE_ASCII);
    bool is_printed = text != NULL;

    for (const char *c = text; is_printed && *c; c++) {
        is_printed = *c == 0x7f ? fputs("\\u007f", stdout) >= 0 : putchar(*c) != EOF;
    }
    json_memory_free(text);
    return is_printed && putchar('\n') != EOF;
}

void answer_print(json_t *result, const struct args *args, answer_print_fn *print)
{
    if (args->is_json) {
        if (!answer_print_json(result, 0) && !ferror(stdout)) { /* main looks at that */
            out_of_memory();
        }
    } else {
        answer_make_safe(result);
        print(result, args);
    }
}
