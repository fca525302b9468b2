/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/err.h"

#include <stdio.h>
#include <string.h>

/* Cut at the end of the buffer: a sentence that long has lost its reader anyway. */
PRINTF_LIKE(2, 0) static void append_formatted(struct err *err, const char *fmt, va_list args)
{
    size_t used = strlen(err->text);

    vsnprintf(err->text + used, sizeof(err->text) - used, fmt, args);
}

static void append_text(struct err *err, const char *separator, const char *text)
{
    size_t used = strlen(err->text);

    snprintf(err->text + used, sizeof(err->text) - used, "%s%s", separator, text);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list args;

    if (err) {
        err->code = code;
        err->text[0] = '\0';
        va_start(args, fmt);
        append_formatted(err, fmt, args);
        va_end(args);
        append_text(err, ": ", strerror(-code));
    }
    return code;
}

int err_say(struct err *err, int code, const char *fmt, ...)
{
    va_list args;

    if (err) {
        err->code = code;
        err->text[0] = '\0';
        va_start(args, fmt);
        append_formatted(err, fmt, args);
        va_end(args);
    }
    return code;
}

void err_hint(struct err *err, const char *fmt, ...)
{
    va_list args;

    if (err) {
        size_t used = strlen(err->text);

        append_text(err, "; ", "");
        va_start(args, fmt);
        append_formatted(err, fmt, args);
        va_end(args);
        if (strlen(err->text) == sizeof(err->text) - 1) {
            err->text[used] = '\0'; /* half a command would be another one */
        }
    }
}

const char *err_text_after(const struct err *err, const char *name)
{
    size_t len = strlen(name);

    return strncmp(err->text, name, len) == 0 && strncmp(err->text + len, ": ", 2) == 0
               ? err->text + len + 2
               : err->text;
}

const char *err_name(int code)
{
    const char *name = strerrorname_np(code < 0 ? -code : code);

    return name ? name : "EUNKNOWN";
}

/* Linux has no more than that, whatever the architecture. */
#define ERRNO_MAX 4095

int err_code(const char *name)
{
    for (int code = 1; code <= ERRNO_MAX; code++) {
        const char *known = strerrorname_np(code);

        if (known && strcmp(known, name) == 0) {
            return -code;
        }
    }
    return 0;
}
