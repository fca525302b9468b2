/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An error that a person will read: what was tried on which object, why it failed,
 * what to do.  The caller owns it; functions that take one accept NULL.
 * Thread: any (each thread its own struct).
 */

#include <stdarg.h>

#include "core/base/base.h"

struct err {
    int code;       /* -errno, 0: none */
    char text[512]; /* one sentence, no final period */
};

/* "<formatted>: <strerror(-code)>".  Returns `code`. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "<formatted>" alone, where strerror would add nothing.  Returns `code`. */
int err_say(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Append "; <formatted>": what to do about it. */
void err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The text for whoever writes "NAME: " in front of it: without that, where it begins so. */
const char *err_text_after(const struct err *err, const char *name);

/* The name of an errno: 2 or -2 -> "ENOENT". */
const char *err_name(int code);

/* The other way round: "ENOENT" -> -2.  0: there is none of that name. */
int err_code(const char *name);
