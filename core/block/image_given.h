/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An image that another process of ours has open, as descriptors of its file: to open it from these
 * is to have the same open file description, with the same locks, whatever its path leads to by
 * now. Plain values.  Thread: any.
 */

#include "core/base/base.h"
#include "core/block/image_claim.h"
#include "core/block/image_loss.h"

struct image_given {
    int fd; /* opened as image_opts asks for: access, O_DIRECT; -1: it has no file */

    /* Who gives it uses it as well, for the same disk, so what it lies on is locked already. */
    bool is_held;
    int claim[IMAGE_CLAIMS]; /* is_held: those locks; see struct image_claim */
    unsigned claims;
    int witness;            /* is_held: see struct image_sync; -1: there is none */
    bool had_name;          /* is_held: see struct node_facts */
    struct image_loss loss; /* is_held: of its syncs */
};

/* Close those that nobody took over. */
void image_given_close(struct image_given *given);
