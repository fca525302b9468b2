/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Devices of zones (SMR drives, ZNS), some of which can be written in order alone: no disk for a
 * guest that is not told of zones.  Thread: any.
 */

#include <sys/types.h>

#include "core/base/base.h"
#include "core/base/err.h"

/*
 * May the image at `path` be written anywhere, of whose device sysfs says `model` in queue/zoned?
 * Returns 0, or -EOPNOTSUPP with what to do.
 * Source: Linux, Documentation/ABI/stable/sysfs-block (none, host-aware, host-managed).
 */
int image_zoned_judge(const char *model, const char *path, struct err *err);

/* The same, as sysfs says it of the device; one that it does not know is as any other. */
int image_zoned_check(dev_t dev, const char *path, struct err *err);
