/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "cmd/ctl/image.h"
#include "cmd/ctl/size.h"

static json_t *parse_size(const struct arg *arg, const char *text, struct err *err)
{
    uint64_t bytes;
    int ret = size_parse(text, &bytes);

    if (ret < 0) {
        (void)err_say(err, ret, "--%s: \"%s\" is %s", arg->option, text,
                      ret == -ERANGE ? "too large for a size"
                                     : "no size, such as 10G, 512M or 4096");
        return NULL;
    }
    return json_integer((json_int_t)bytes);
}

static json_t *parse_number(const struct arg *arg, const char *text, struct err *err)
{
    char *end = NULL;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        (void)err_say(err, -EINVAL, "--%s: \"%s\" is no whole number", arg->option, text);
        return NULL;
    }
    return json_integer(value);
}

/* A day is more than anybody waits. */
static json_t *parse_seconds(const struct arg *arg, const char *text, struct err *err)
{
    char *end = NULL;
    double value = strtod(text, &end);

    if ((text[0] != '.' && (text[0] < '0' || text[0] > '9')) || *end != '\0' || !isfinite(value) ||
        value > 86400) {
        (void)err_say(err, -EINVAL, "--%s: \"%s\" is no number of seconds up to 86400", arg->option,
                      text);
        return NULL;
    }
    return json_integer((json_int_t)(value * 1000 + 0.5));
}

static json_t *parse_path(const struct arg *arg, const char *text, struct err *err)
{
    char *path = text[0] ? image_absolute(text) : NULL;
    json_t *value = path ? json_string(path) : NULL;

    free(path);
    if (!value) {
        (void)err_say(err, -EINVAL, "--%s: \"%s\" is no path that can be sent", arg->option, text);
    }
    return value;
}

static json_t *parse_text(const struct arg *arg, const char *text, struct err *err)
{
    json_t *value = json_string(text);

    if (!value) {
        (void)err_say(err, -EINVAL, "%s%s: \"%s\" is not UTF-8", arg->option ? "--" : "",
                      arg->option ? arg->option : arg->word, text);
    }
    return value;
}

json_t *value_parse(const struct arg *arg, const char *text, struct err *err)
{
    switch (arg->kind) {
    case ARG_FLAG:
        return json_true();
    case ARG_SIZE:
        return parse_size(arg, text, err);
    case ARG_NUMBER:
        return parse_number(arg, text, err);
    case ARG_SECONDS:
        return parse_seconds(arg, text, err);
    case ARG_PATH:
        return parse_path(arg, text, err);
    default:
        return parse_text(arg, text, err);
    }
}
