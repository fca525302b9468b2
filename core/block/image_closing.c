/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_closing.h"

#include <stdlib.h>

#include "core/base/chore.h"

struct image_closing {
    struct chore chore;
    struct image *image;
    bool unmake;
    image_closed *closed;
    void *arg;
};

static struct image_closing *closing_of(struct chore *chore)
{
    return containerof(chore, struct image_closing, chore);
}

static void close_image(struct image *image, bool unmake)
{
    if (unmake) {
        image_unmake(image);
    }
    image_close(image);
}

static void run_closing(struct chore *chore)
{
    close_image(closing_of(chore)->image, closing_of(chore)->unmake);
}

static void tell_closed(struct chore *chore)
{
    struct image_closing *closing = closing_of(chore);

    closing->closed(closing->arg);
    free(closing);
}

static void forget_closing(struct chore *chore)
{
    free(closing_of(chore));
}

struct image_closing *image_closing_begin(struct image *image, bool unmake, struct mailbox *home,
                                          image_closed *closed, void *arg)
{
    bool may_block = node_has_file(image->root);
    struct image_closing *closing = may_block ? calloc(1, sizeof(*closing)) : NULL;

    if (closing) {
        *closing = (struct image_closing){
            .chore = {.name = "closing",
                      .run = run_closing,
                      .done = tell_closed,
                      .undo = forget_closing,
                      .is_undone_at_once = true},
            .image = image,
            .unmake = unmake,
            .closed = closed,
            .arg = arg,
        };
    }
    if (closing && chore_send(&closing->chore, home) == 0) {
        return closing;
    }
    free(closing);
    close_image(image, unmake);
    return NULL;
}

void image_closing_abandon(struct image_closing *closing)
{
    chore_abandon(&closing->chore);
}
