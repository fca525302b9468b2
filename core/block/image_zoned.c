/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_zoned.h"

#include <errno.h>
#include <string.h>

#include "core/base/sysfs.h"

int image_zoned_judge(const char *model, const char *path, struct err *err)
{
    if (strcmp(model, "host-managed") != 0) {
        return 0;
    }
    err_say(err, -EOPNOTSUPP,
            "image %s is a zoned device (%s), which takes writes in the order of its zones alone, "
            "and guests write anywhere",
            path, model);
    err_hint(err, "put dm-zoned on it, or a file system that knows zones, and an image there");
    return -EOPNOTSUPP;
}

/* A partition has its disk's queue. */
int image_zoned_check(dev_t dev, const char *path, struct err *err)
{
    char model[32];

    if (!sysfs_fact(dev, "queue/zoned", model, sizeof(model))) {
        (void)sysfs_fact(dev, "../queue/zoned", model, sizeof(model));
    }
    return image_zoned_judge(model, path, err);
}
