/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_given.h"

#include <unistd.h>

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void image_given_close(struct image_given *given)
{
    close_one(&given->fd);
    close_one(&given->witness);
    while (given->claims > 0) {
        close_one(&given->claim[--given->claims]);
    }
}
