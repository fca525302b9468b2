/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/err.h"

#include <stdio.h>
#include <string.h>

/* Cut at the end of the buffer: a sentence that long has lost its reader anyway. */
PRINTF_LIKE(2, 0) static void append(struct err *err, const char *fmt, va_list args)
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
        append(err, fmt, args);
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
        append(err, fmt, args);
        va_end(args);
    }
    return code;
}

void err_hint(struct err *err, const char *fmt, ...)
{
    va_list args;

    if (err) {
        append_text(err, "; ", "");
        va_start(args, fmt);
        append(err, fmt, args);
        va_end(args);
    }
}

const char *err_name(int code)
{
    const char *name = strerrorname_np(code < 0 ? -code : code);

    return name ? name : "EUNKNOWN";
}
