/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_holder.h"

#include <stdio.h>
#include <unistd.h>

#include "core/block/image_owner.h"

void image_holder_say(const struct holder *holder, char text[HOLDER_BYTES])
{
    char owner[IMAGE_OWNER_BYTES];

    if (holder->pid == getpid() && image_owner_find(holder->fd, owner)) {
        (void)snprintf(text, HOLDER_BYTES, "%s, a disk of this vblkd", owner);
    } else {
        holder_say(holder, text);
    }
}
