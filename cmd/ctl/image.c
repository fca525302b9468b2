/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/ctl/size.h"

#define NULL_PREFIX "null:"
#define DELAY_PREFIX "delay-ms="

char *image_absolute(const char *path)
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

static int parse_delay(const char *text, json_t *image, struct err *err)
{
    char *end = NULL;
    unsigned long delay;

    if (strncmp(text, DELAY_PREFIX, strlen(DELAY_PREFIX)) != 0) {
        return err_say(err, -EINVAL,
                       "\"%s\": a null image has no such option, only " DELAY_PREFIX "N", text);
    }
    text += strlen(DELAY_PREFIX);
    errno = 0;
    delay = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || delay > INT32_MAX) {
        return err_say(err, -EINVAL, "\"%s\" is no number of milliseconds", text);
    }
    (void)json_object_set_new(image, "delay_ms", json_integer((json_int_t)delay));
    return 0;
}

static int parse_null(const char *text, json_t *image, struct err *err)
{
    const char *comma = strchrnul(text, ',');
    char size_text[64];
    uint64_t size;

    (void)snprintf(size_text, sizeof(size_text), "%.*s", (int)(comma - text), text);
    if ((size_t)(comma - text) >= sizeof(size_text) || size_parse(size_text, &size) < 0 ||
        size == 0) {
        return err_say(err, -EINVAL, "null:%s: \"%.60s\" is no size", text, size_text);
    }
    if (json_object_get(image, "size")) {
        return err_say(err, -EINVAL, "null:%s has its size, --size goes with --create", text);
    }
    (void)json_object_set_new(image, "type", json_string("null"));
    (void)json_object_set_new(image, "size", json_integer((json_int_t)size));
    return *comma == ',' ? parse_delay(comma + 1, image, err) : 0;
}

int image_parse(const char *text, json_t *image, struct err *err)
{
    char *path;
    json_t *value;

    if (strncmp(text, NULL_PREFIX, strlen(NULL_PREFIX)) == 0) {
        return parse_null(text + strlen(NULL_PREFIX), image, err);
    }
    if (text[0] == '\0') {
        return err_say(err, -EINVAL, "IMAGE is empty");
    }
    path = image_absolute(text);
    value = path ? json_string(path) : NULL;
    free(path);
    if (!value) {
        return err_say(err, -EINVAL, "IMAGE: \"%s\" is no path that can be sent (UTF-8)", text);
    }
    (void)json_object_set_new(image, "type", json_string("file"));
    (void)json_object_set_new(image, "path", value);
    return 0;
}
