/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_opening.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/chore.h"
#include "core/base/thread.h"
#include "core/block/image_allocate.h"
#include "core/block/image_wait.h"

struct image_opening {
    struct chore chore;
    struct image_opts opts;
    struct image_progress progress;
    uint64_t seen; /* of progress.bytes */
    char *type;    /* owned, as are those that may be NULL */
    char *path;
    char *owner;
    image_opened *opened;
    void *arg;
    struct image *image; /* NULL: `err` says why */
    struct err err;
};

static struct image_opening *opening_of(struct chore *chore)
{
    return containerof(chore, struct image_opening, chore);
}

static void release_opening(struct image_opening *opening)
{
    free(opening->type);
    free(opening->path);
    free(opening->owner);
    free(opening);
}

static void run_opening(struct chore *chore)
{
    struct image_opening *opening = opening_of(chore);

    if (image_open(&opening->image, &opening->opts, &opening->err) < 0) {
        opening->image = NULL;
        chore->is_undone_at_once = true;
    }
}

static void hand_image_over(struct chore *chore)
{
    struct image_opening *opening = opening_of(chore);

    opening->opened(opening->arg, opening->image, &opening->err);
    release_opening(opening);
}

/* Nobody wants it. */
static void undo_opening(struct chore *chore)
{
    struct image_opening *opening = opening_of(chore);

    if (opening->image && opening->opts.create) {
        image_unmake(opening->image);
    }
    if (opening->image) {
        image_close(opening->image);
    }
    release_opening(opening);
}

static int copy_text(char **to, const char *text)
{
    *to = text ? strdup(text) : NULL;
    return text && !*to ? -ENOMEM : 0;
}

static int copy_opts(struct image_opening *opening, const struct image_opts *opts)
{
    int ret = copy_text(&opening->type, opts->type);

    if (ret == 0) {
        ret = copy_text(&opening->path, opts->path);
    }
    if (ret == 0) {
        ret = copy_text(&opening->owner, opts->owner);
    }
    opening->opts = *opts;
    opening->opts.type = opening->type;
    opening->opts.path = opening->path;
    opening->opts.owner = opening->owner;
    opening->opts.progress = &opening->progress;
    return ret;
}

/* Each is a thread, and a file that is open, for as long as a file system does not answer. */
static int check_left(const char *path, struct err *err)
{
    unsigned left = chore_abandoned();

    if (left < IMAGES_LEFT_MAX) {
        return 0;
    }
    (void)err_say(err, -EBUSY,
                  "image %s: not opened, as %u images are still being opened or closed for "
                  "nobody, whose file systems do not answer",
                  path, left);
    err_hint(err, "see to those, which the log names");
    return -EBUSY;
}

static int send_opening(struct image_opening *opening, const struct image_opts *opts,
                        struct mailbox *home, struct err *err)
{
    const char *path = opts->path && opts->path[0] ? opts->path : opts->type;
    int ret = check_left(path, err);

    if (ret < 0) {
        return ret;
    }
    ret = copy_opts(opening, opts);
    if (ret == 0) {
        ret = chore_send(&opening->chore, home);
    }
    if (ret < 0) {
        (void)err_set(err, ret, "image %s: no thread to open it", path);
        thread_hint(err);
    }
    return ret;
}

int image_opening_begin(struct image_opening **out, const struct image_opts *opts,
                        struct mailbox *home, image_opened *opened, void *arg, struct err *err)
{
    struct image_opening *opening = calloc(1, sizeof(*opening));
    int ret;

    if (!opening) {
        return err_set(err, -ENOMEM, "an image");
    }
    opening->chore = (struct chore){
        .name = "opening", .run = run_opening, .done = hand_image_over, .undo = undo_opening};
    opening->opened = opened;
    opening->arg = arg;
    ret = send_opening(opening, opts, home, err);
    if (ret < 0) {
        release_opening(opening);
        return ret;
    }
    *out = opening;
    return 0;
}

void image_opening_redirect(struct image_opening *opening, image_opened *opened)
{
    opening->opened = opened;
}

void image_opening_cancel(struct image_opening *opening)
{
    atomic_store(&opening->progress.is_unwanted, true);
}

uint64_t image_opening_bytes(const struct image_opening *opening)
{
    return atomic_load(&opening->progress.bytes);
}

bool image_opening_waits(struct image_opening *opening, char text[IMAGE_WAIT_BYTES])
{
    return image_wait_text(&opening->progress, text);
}

bool image_opening_moves(struct image_opening *opening)
{
    uint64_t before = opening->seen;

    opening->seen = image_opening_bytes(opening);
    return opening->seen > before;
}

void image_opening_abandon(struct image_opening *opening)
{
    image_opening_cancel(opening); /* it may be gone afterwards */
    chore_abandon(&opening->chore);
}
