/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_look.h"

#include <errno.h>
#include <stdio.h>

#include "core/base/log.h"
#include "core/base/thread.h"
#include "core/block/image.h"

int plane_look_fd(const struct plane *plane)
{
    const struct image *image = plane->dev ? device_image(plane->dev) : NULL;

    return image ? image_facts(image)->fd : -1;
}

/*
 * On the errand's thread.  The image stays open until it is back (see plane_sync), and by its count
 * the file does so, too, that was the image's when it was sent.  To give that back may block.
 */
static void look_at_image(struct errand *errand)
{
    struct plane_look *look = containerof(errand, struct plane_look, errand);
    struct node_extent extent = {0};

    image_fate_look(&look->found, look->path, look->node->facts.fd, look->node->facts.had_name);
    look->has_found_size = node_measure(look->node, &extent, NULL) == 0;
    look->found_size = extent.bytes;
    node_put(look->node);
}

static void on_looked(struct errand *errand)
{
    struct plane_look *look = containerof(errand, struct plane_look, errand);

    look->is_busy = false;
    look->latest = look->found;
    if (look->is_stale) {
        look->latest = (struct image_fate){0};
    }
    look->has_size = look->has_found_size && !look->is_stale;
    look->size = look->found_size;
    look->size_ns = look->begun_ns;
    look->measured = look->node;
    look->is_stale = false;
    look->done(containerof(look, struct plane, look));
}

bool plane_look_begin(struct plane *plane, void (*done)(struct plane *plane))
{
    struct plane_look *look = &plane->look;

    if (plane_look_fd(plane) < 0) {
        return false;
    }
    look->done = done;
    look->errand.run = look_at_image;
    look->errand.done = on_looked;
    look->begun_ns = now_ns();
    (void)snprintf(look->path, sizeof(look->path), "%s", plane->opts.image.path);
    look->node = node_get(device_image(plane->dev)->root);
    look->is_busy = errand_send(&look->errand, &plane->worker.mailbox) == 0;
    if (!look->is_busy) {
        node_put(look->node);
    }
    return look->is_busy;
}

uint64_t plane_look_age_ns(const struct plane *plane)
{
    return plane->look.is_busy ? now_ns() - plane->look.begun_ns : 0;
}

bool plane_look_hangs(const struct plane *plane)
{
    return plane_look_age_ns(plane) > PLANE_LOOK_TELL_MS * NS_PER_MS;
}

struct image_fate plane_look_latest(const struct plane *plane)
{
    struct image_fate fate = plane->look.latest;

    if (plane_look_hangs(plane) && !image_fate_is_danger(&fate)) {
        fate.kind = IMAGE_UNKNOWN;
    }
    return fate;
}

/* One that had begun before the disk got its size may tell of the one before. */
bool plane_look_size(const struct plane *plane, uint64_t *bytes)
{
    *bytes = plane->look.size;
    return plane->look.has_size && plane->look.size_ns > plane->resize.ended_ns;
}

void plane_look_opened(struct plane *plane)
{
    plane->look.latest = (struct image_fate){0};
    plane->look.is_stale = plane->look.is_busy;
    plane->look.has_size = false;
    plane->resize.left_over = 0;
}

/* What was moved is told until the disk is started; what was lost is not there to be told of. */
void plane_look_closing(struct plane *plane)
{
    struct image_fate *fate = &plane->look.latest;
    char id[IMAGE_ID_BYTES];
    char where[256];

    if (plane_look_fd(plane) < 0 || !image_fate_is_danger(fate)) {
        return;
    }
    image_id_say(&fate->id, id);
    if (fate->has_name) {
        image_fate_say_where(fate, where, sizeof(where));
        log_error("%s: closes an image that is not at its path %s any more, but %s (%s)",
                  plane->opts.name, plane->opts.image.path, where, id);
    } else {
        log_error("%s: closes an image that was deleted, with all that is in it: %s (%s)",
                  plane->opts.name, plane->opts.image.path, id);
    }
    *fate = (struct image_fate){0};
}

void plane_look_say_blind(const char *name, struct err *err)
{
    (void)err_say(err, -EAGAIN, "%s: no thread to see whether the image would be lost", name);
    thread_hint(err);
}

void plane_look_say_hangs(const char *name, uint64_t age_ns, struct err *err)
{
    (void)err_say(err, -ESTALE,
                  "%s: whether the image would be lost cannot be told, as its file system does "
                  "not answer, for %.1f s",
                  name, (double)age_ns / NS_PER_S);
}
