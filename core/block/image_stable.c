/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_stable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/names.h"

/* Not all file systems flush a folder, nor may all be opened: then its file is all there is. */
static void flush_folder(const char *path)
{
    char *whole = realpath(path, NULL);
    char *slash = whole ? strrchr(whole, '/') : NULL;
    int fd = -1;

    if (slash) {
        slash[slash == whole] = '\0'; /* of "/a" it is "/" */
        fd = names_open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    }
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(whole);
}

int image_stable_make(int fd, const char *path, struct err *err)
{
    if (fsync(fd) < 0) {
        return err_set(err, -errno, "image %s: what it has cannot be written to stable storage",
                       path);
    }
    flush_folder(path);
    return 0;
}
