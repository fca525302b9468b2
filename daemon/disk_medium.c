/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_medium.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/json_memory.h"
#include "daemon/params.h"
#include "daemon/protocol.h"

static int check_empty(const struct disk_config *config, struct err *err)
{
    if (image_type_of(&config->image)->is_empty) {
        return 0;
    }
    (void)err_say(err, -EEXIST, "%s: it has an image already", config->name);
    err_hint(err, PROTOCOL_FIRST "eject %s'", config->name);
    return -EEXIST;
}

/* What is written nowhere cannot be elsewhere, nor come again. */
static int check_full(const struct disk_config *config, enum medium_change change, struct err *err)
{
    const struct image_type *type = image_type_of(&config->image);

    if (type->has_file) {
        return 0;
    }
    if (!type->is_empty) {
        (void)err_say(err, -EINVAL, "%s: its image is no file", config->name);
        err_hint(err, "remove the disk, and add it with another image");
        return -EINVAL;
    }
    (void)err_say(err, -ENOENT, "%s: it has no image", config->name);
    if (change == MEDIUM_REPLACE) {
        err_hint(err, PROTOCOL_IF_MEANT "insert %s IMAGE", config->name);
    }
    return -ENOENT;
}

/* Who comes back with its guest has an image to wait for. */
static int check_eject(const struct disk_config *config, struct err *err)
{
    if (!config->incoming) {
        return 0;
    }
    return err_say(err, -EBUSY, "%s: its guest is elsewhere, and uses the image", config->name);
}

static int check_ask(const struct disk_config *config, enum medium_change change, struct err *err)
{
    int ret = change == MEDIUM_INSERT ? check_empty(config, err) : check_full(config, change, err);

    return ret == 0 && change == MEDIUM_EJECT ? check_eject(config, err) : ret;
}

/* As it is, but for what is said; what goes with the disk stays. */
static void name_image(struct image_config *image, const struct medium_target *target)
{
    (void)snprintf(image->type, sizeof(image->type), "%s", image_kinds[0]->name);
    (void)snprintf(image->path, sizeof(image->path), "%s", target->path);
    (void)snprintf(image->format, sizeof(image->format), "%s", target->format);
    image->create = false;
    image->size = 0;
}

/* What an empty disk has of it; all else is as when nobody says. */
static int empty_image(struct image_config *image, struct err *err)
{
    unsigned before = json_memory_failures();
    json_auto_t *object = json_pack("{s:s, s:s, s:b}", "type", "empty", "cache", image->cache,
                                    "shareable", image->shareable);

    if (json_memory_failures() != before) {
        return err_set(err, -ENOMEM, "an image");
    }
    memset(image, 0, sizeof(*image));
    return params_read(object, image_params, "image", image, err);
}

static int complete_image(struct image_config *image, const struct medium_target *target,
                          struct err *err)
{
    if (!target) {
        return empty_image(image, err);
    }
    name_image(image, target);
    return image_type_of(image)->check(image, err);
}

struct medium_ask *disk_medium_new(const struct disk *disk, enum medium_change change,
                                   const struct medium_target *target, struct err *err)
{
    const struct disk_config *config = &disk->record.config;
    struct medium_ask *ask;

    if (check_ask(config, change, err) < 0) {
        return NULL;
    }
    ask = calloc(1, sizeof(*ask));
    if (!ask) {
        (void)err_set(err, -ENOMEM, "%s", config->name);
        return NULL;
    }
    *ask = (struct medium_ask){.change = change, .image = config->image, .before = config->image};
    if (complete_image(&ask->image, target, err) < 0) {
        free(ask);
        return NULL;
    }
    return ask;
}
