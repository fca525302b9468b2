/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_given.h"

void plane_given_init(struct plane_given *given)
{
    *given = (struct plane_given){.image = {.fd = -1, .witness = -1}};
    vu_given_init(&given->vu);
}

void plane_given_fini(struct plane_given *given, bool ours)
{
    vu_given_fini(&given->vu, ours);
    if (ours) {
        image_given_close(&given->image);
    }
}
