/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/medium.h"

#include <errno.h>
#include <stdio.h>

#include "cmd/ctl/list.h"
#include "cmd/ctl/print.h"
#include "cmd/ctl/resize.h"

int medium_check_add(const struct args *args, struct err *err)
{
    json_t *image = json_object_get(args->params, "image");
    bool is_empty = json_is_true(json_object_get(args->own, "empty"));

    if (is_empty && json_object_get(image, "type")) {
        return err_say(err, -EINVAL, "--empty: goes in the place of IMAGE, leave out one of them");
    }
    if (!is_empty) {
        return json_object_get(image, "type") ? 0 : err_say(err, -EINVAL, "add: IMAGE is missing");
    }
    if (!image) {
        image = json_object();
        (void)json_object_set_new(args->params, "image", image);
    }
    return json_object_set_new(image, "type", json_string("empty"));
}

static const char *path_or_none(const char *path)
{
    return path[0] ? path : "none";
}

/* Of insert and eject. */
static void print_guest(const json_t *disk)
{
    if (print_text_of(disk, "guest")[0]) {
        printf("; %s%s", resize_guest_knows(disk), print_text_of(disk, "advice"));
    }
    printf("\n");
}

void medium_print(const json_t *disk, const struct args *args)
{
    const char *name = print_text_of(disk, "name");
    const char *path = path_or_none(print_text_of(json_object_get(disk, "image"), "path"));
    const char *state = print_text_of(disk, "state");

    if (json_is_false(json_object_get(disk, "changed"))) {
        printf("%s: %s, its image is %s, as it was before\n", name, state, path);
    } else {
        printf("%s: %s, its image is %s, and was %s", name, state, path,
               path_or_none(print_text_of(disk, "image_before")));
        print_guest(disk);
    }
    list_warnings(disk, name);
}
