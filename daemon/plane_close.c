/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_close.h"

#include "core/base/log.h"
#include "core/block/image_closing.h"
#include "core/block/image_opening.h"
#include "daemon/plane_look.h"

static void end_close(struct plane *plane)
{
    void (*done)(struct plane * plane) = plane->close.done;

    plane->close.closing = NULL;
    plane->close.done = NULL;
    if (done) {
        done(plane);
    }
}

static void on_image_closed(void *arg)
{
    end_close(arg);
}

void plane_close(struct plane *plane, struct image *image, bool unmake,
                 void (*done)(struct plane *plane))
{
    struct plane_close *close = &plane->close;

    close->done = done;
    close->begun_ns = now_ns();
    close->closing =
        image_closing_begin(image, unmake, &plane->worker.mailbox, on_image_closed, plane);
    if (!close->closing) {
        end_close(plane);
    }
}

void plane_close_attached(struct plane *plane, bool unmake, void (*done)(struct plane *plane))
{
    if (device_image(plane->dev)) {
        plane_look_closing(plane);
        plane_close(plane, device_detach(plane->dev), unmake, done);
    } else if (plane_is_closing(plane)) {
        plane->close.done = done;
    } else {
        done(plane);
    }
}

static void on_unwanted_opened(void *arg, struct image *image, struct err *err)
{
    struct plane *plane = arg;

    (void)err; /* so much the better */
    plane->close.opening = NULL;
    if (image) {
        plane_close(plane, image, plane->close.unmake, plane->close.done);
    } else {
        end_close(plane);
    }
}

void plane_close_opening(struct plane *plane, bool unmake, void (*done)(struct plane *plane))
{
    struct plane_close *close = &plane->close;

    close->opening = plane->image_opening;
    close->unmake = unmake;
    close->done = done;
    close->begun_ns = now_ns();
    plane->image_opening = NULL;
    image_opening_cancel(close->opening);
    image_opening_redirect(close->opening, on_unwanted_opened);
}

void plane_close_forget(struct plane *plane)
{
    plane->close.done = NULL;
}

uint64_t plane_close_age_ns(const struct plane *plane)
{
    return plane_is_closing(plane) ? now_ns() - plane->close.begun_ns : 0;
}

void plane_close_leave(struct plane *plane)
{
    struct plane_close *close = &plane->close;

    log_warn("%s: does not wait any longer for its image to be %s: the file system does not "
             "answer, and the image may be in use until it does (%s)",
             plane->opts.name, close->opening ? "opened" : "closed", plane->opts.image.path);
    close->is_left = true;
    if (close->opening) {
        image_opening_abandon(close->opening);
        close->opening = NULL;
    } else {
        image_closing_abandon(close->closing);
    }
    end_close(plane);
}
