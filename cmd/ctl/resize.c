/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/ctl/resize.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd/common/size.h"
#include "cmd/ctl/list.h"
#include "cmd/ctl/print.h"

int resize_check(const struct args *args, struct err *err)
{
    bool has_size = json_object_get(args->params, "size");
    bool refreshes = json_object_get(args->params, "refresh");

    if (has_size && refreshes) {
        return err_say(err, -EINVAL,
                       "--refresh: gives the disk what its image has, and goes without SIZE");
    }
    if (!has_size && !refreshes) {
        return err_say(err, -EINVAL,
                       "resize: SIZE is missing; or --refresh gives the disk what its image has");
    }
    if (refreshes && json_object_get(args->params, "shrink")) {
        return err_say(err, -EINVAL,
                       "--shrink: goes with SIZE; an image that was made smaller is not followed "
                       "by --refresh");
    }
    return 0;
}

const char *resize_guest_knows(const json_t *disk)
{
    const char *guest = print_text_of(disk, "guest");
    static const struct {
        const char *guest;
        const char *text;
    } table[] = {
        {"told", "the guest has been told"},
        {"when_started", "the guest is told when it starts the disk"},
        {"not_told", "the guest cannot be told: "},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        if (strcmp(guest, table[i].guest) == 0) {
            return table[i].text;
        }
    }
    return "no guest is connected";
}

/* A size that cannot be told in few digits is told in bytes as well. */
static const char *say_size(uint64_t bytes, char *text, size_t size)
{
    char rounded[SIZE_TEXT_BYTES];
    uint64_t again;

    (void)size_format(bytes, rounded);
    if (size_parse(rounded, &again) == 0 && again == bytes) {
        (void)snprintf(text, size, "%s", rounded);
    } else {
        (void)snprintf(text, size, "%s (%llu bytes)", rounded, (unsigned long long)bytes);
    }
    return text;
}

void resize_print(const json_t *disk, const struct args *args)
{
    const char *name = print_text_of(disk, "name");
    char now[64];
    char before[64];

    (void)args;
    (void)say_size(print_number_of(disk, "size"), now, sizeof(now));
    if (json_is_false(json_object_get(disk, "changed"))) {
        printf("%s: %s, as it was before\n", name, now);
    } else {
        printf("%s: %s, was %s; %s%s\n", name, now,
               say_size(print_number_of(disk, "old_size"), before, sizeof(before)),
               resize_guest_knows(disk), print_text_of(disk, "advice"));
    }
    list_warnings(disk, name);
}
