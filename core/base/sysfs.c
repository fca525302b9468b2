/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/sysfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool sysfs_line(const char *path, char *line, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, line, size - 1);

    if (fd >= 0) {
        close(fd);
    }
    line[len > 0 ? len : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return line[0] != '\0';
}

bool sysfs_fact(dev_t dev, const char *name, char *line, size_t size)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(dev), minor(dev), name);
    return sysfs_line(path, line, size);
}
