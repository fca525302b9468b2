/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/context.h"

#include <errno.h>

int context_add(struct context *context, struct path *leaf, struct err *err)
{
    if (context->leaf_count == CONTEXT_LEAVES) {
        return err_say(err, -ENOSPC, "an image of more than %u layers that wait", CONTEXT_LEAVES);
    }
    context->leaf[context->leaf_count++] = leaf;
    return 0;
}

void context_remove(struct context *context, struct path *leaf)
{
    unsigned at = 0;

    while (context->leaf[at] != leaf) {
        at++;
        assert(at < context->leaf_count);
    }
    context->leaf_count--;
    for (; at < context->leaf_count; at++) {
        context->leaf[at] = context->leaf[at + 1];
    }
}
