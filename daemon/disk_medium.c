/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_medium.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/protocol.h"

/* What is written nowhere cannot be elsewhere. */
static int check_replaced(const struct disk_config *config, struct err *err)
{
    if (image_type_of(&config->image)->has_file) {
        return 0;
    }
    (void)err_say(err, -EINVAL, "%s: its image is no file, so no other has its bytes",
                  config->name);
    err_hint(err, "remove the disk, and add it with another image");
    return -EINVAL;
}

/* As it is, but for what is said; what goes with the disk stays. */
static void name_image(struct image_config *image, const struct medium_target *target)
{
    (void)snprintf(image->path, sizeof(image->path), "%s", target->path);
    (void)snprintf(image->format, sizeof(image->format), "%s", target->format);
    image->create = false;
    image->size = 0;
}

struct medium_ask *disk_medium_new(const struct disk *disk, enum medium_change change,
                                   const struct medium_target *target, struct err *err)
{
    const struct disk_config *config = &disk->record.config;
    struct medium_ask *ask = NULL;
    int ret = check_replaced(config, err);

    if (ret == 0) {
        ask = calloc(1, sizeof(*ask));
    }
    if (ret == 0 && !ask) {
        (void)err_set(err, -ENOMEM, "%s", config->name);
    }
    if (!ask) {
        return NULL;
    }
    *ask = (struct medium_ask){.change = change, .image = config->image, .before = config->image};
    name_image(&ask->image, target);
    if (image_type_of(&ask->image)->check(&ask->image, err) < 0) {
        free(ask);
        return NULL;
    }
    return ask;
}
