/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/std_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The lowest free number is taken, which is `fd`, as all below are open. */
int std_fds_fill(struct err *err)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) < 0) {
            return err_set(err, -errno, "cannot open /dev/null in the place of closed file %d", fd);
        }
    }
    return 0;
}
