/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the kernel tells in sysfs, and in such files of /proc.  Thread: any; nothing here waits for
 * a device.
 */

#include <sys/types.h>

#include "core/base/base.h"

/* The first line of a file; "" and false when there is none. */
bool sysfs_line(const char *path, char *line, size_t size);

/* The same of a file below the block device's directory. */
bool sysfs_fact(dev_t dev, const char *name, char *line, size_t size);
