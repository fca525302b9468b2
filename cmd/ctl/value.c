/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/value.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/common/size.h"

static json_t *parse_size(const char *text, struct err *err)
{
    uint64_t bytes;
    int ret = size_parse(text, &bytes);

    if (ret < 0 || bytes == 0) {
        (void)err_say(err, -EINVAL, "\"%s\" is %s", text,
                      ret < 0 ? size_problem(ret) : "no size, it must be more than 0");
        return NULL;
    }
    return json_integer((json_int_t)bytes);
}

static json_t *parse_number(const char *text, struct err *err)
{
    char *end = NULL;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        (void)err_say(err, -EINVAL, "\"%s\" is no whole number", text);
        return NULL;
    }
    return json_integer(value);
}

/* A day is more than anybody waits. */
#define SECONDS_MAX 86400u

static json_t *parse_seconds(const char *text, struct err *err)
{
    uint64_t time_ns;

    if (!seconds_parse(text, &time_ns) || time_ns > SECONDS_MAX * NS_PER_S) {
        (void)err_say(err, -EINVAL, "\"%s\" is no number of seconds up to 86400", text);
        return NULL;
    }
    return json_integer((json_int_t)((time_ns + NS_PER_MS / 2) / NS_PER_MS));
}

char *value_absolute(const char *path)
{
    char *cwd;
    char *absolute = NULL;

    if (path[0] == '/') {
        return strdup(path);
    }
    while (strncmp(path, "./", 2) == 0) {
        path += 2;
    }
    cwd = getcwd(NULL, 0);
    if (!cwd || asprintf(&absolute, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, path) < 0) {
        absolute = NULL;
    }
    free(cwd);
    return absolute;
}

static json_t *parse_path(const char *text, struct err *err)
{
    char *path = text[0] ? value_absolute(text) : NULL;
    json_t *value = path ? json_string(path) : NULL;

    free(path);
    if (!value) {
        (void)(text[0] ? err_say(err, -EINVAL, "\"%s\" is no path that can be sent", text)
                       : err_say(err, -EINVAL, "is empty"));
    }
    return value;
}

static json_t *parse_text(const char *text, struct err *err)
{
    json_t *value = json_string(text);

    if (!value) {
        (void)err_say(err, -EINVAL, "\"%s\" is not UTF-8", text);
    }
    return value;
}

/* More than that is "nobody in particular" to the kernel. */
#define ID_MAX (UINT32_MAX - 1)

static json_t *parse_user(const char *text, struct err *err)
{
    const struct passwd *user = getpwnam(text);

    if (!user) {
        (void)err_say(err, -EINVAL, "there is no user \"%s\" on this host", text);
        return NULL;
    }
    return json_integer(user->pw_uid);
}

static json_t *parse_users(const char *text, struct err *err)
{
    const struct group *users = getgrnam(text);

    if (!users) {
        (void)err_say(err, -EINVAL, "there is no group \"%s\" on this host", text);
        return NULL;
    }
    return json_integer(users->gr_gid);
}

/* Names are looked up here: what that asks (LDAP) may take long, or be not the daemon's to ask. */
static json_t *parse_id(const char *text, json_t *parse_name(const char *text, struct err *err),
                        struct err *err)
{
    json_t *value;

    if (!isdigit((unsigned char)text[0])) {
        return parse_name(text, err);
    }
    value = parse_number(text, err);
    if (value && json_integer_value(value) > ID_MAX) {
        (void)err_say(err, -EINVAL, "%s is out of range, 0 to %u are allowed", text, ID_MAX);
        json_decref(value);
        value = NULL;
    }
    return value;
}

json_t *value_parse(enum arg_kind kind, const char *text, struct err *err)
{
    switch (kind) {
    case ARG_FLAG:
        return json_true();
    case ARG_PLACE:
        return strcmp(text, "0") == 0 ? json_integer(0) : parse_size(text, err);
    case ARG_SIZE:
        return parse_size(text, err);
    case ARG_NUMBER:
        return parse_number(text, err);
    case ARG_USER:
        return parse_id(text, parse_user, err);
    case ARG_USERS:
        return parse_id(text, parse_users, err);
    case ARG_SECONDS:
        return parse_seconds(text, err);
    case ARG_PATH:
        return parse_path(text, err);
    default:
        return parse_text(text, err);
    }
}
