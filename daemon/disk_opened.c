/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/disk_opened.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Source: random(4), "/proc interfaces". */
void boot_id_read(char boot[BOOT_ID_BYTES])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, boot, BOOT_ID_BYTES - 1);

    boot[len > 0 ? len : 0] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

struct image_id disk_opened_id(const struct disk_opened *opened, const char *boot)
{
    if (!boot[0] || strcmp(opened->boot, boot) != 0) {
        return (struct image_id){0};
    }
    return (struct image_id){
        .device = (uint64_t)opened->device,
        .inode = (uint64_t)opened->inode,
        .born_ns = (uint64_t)opened->born_ns,
    };
}

bool disk_opened_keep(struct disk_opened *opened, const struct image_id *id, const char *boot)
{
    const struct disk_opened before = *opened;

    memset(opened, 0, sizeof(*opened));
    if (id->device) {
        (void)snprintf(opened->boot, sizeof(opened->boot), "%s", boot);
        opened->device = (int64_t)id->device;
        opened->inode = (int64_t)id->inode;
        opened->born_ns = (int64_t)id->born_ns;
    }
    return strcmp(before.boot, opened->boot) != 0 || before.device != opened->device ||
           before.inode != opened->inode || before.born_ns != opened->born_ns;
}
