/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The closing of a disk's image, on a thread of its own (image_closing.h): whoever stops, removes
 * or could not start the disk waits for it, so that the image is free when they are answered, and
 * the disk answers meanwhile.  One at a time.  An opening that nobody wants any more is one, too:
 * what it opens is closed.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/* How long the end of the daemon waits: by then nothing is left but to give up locks. */
#define PLANE_CLOSE_EXIT_MS 2000

/* Close an image that is not attached, and call `done`, perhaps from within this call. */
void plane_close(struct plane *plane, struct image *image, bool unmake,
                 void (*done)(struct plane *plane));

/*
 * The same with the one that is attached; nothing may be in flight.  Where none is, and one is
 * being closed, `done` takes the place of who waits for that.
 */
void plane_close_attached(struct plane *plane, bool unmake, void (*done)(struct plane *plane));

/* Close what plane->image_opening opens: that is none any more. */
void plane_close_opening(struct plane *plane, bool unmake, void (*done)(struct plane *plane));

/* Who waits for it does not any more. */
void plane_close_forget(struct plane *plane);

/* For how long one has been under way; 0: none is. */
uint64_t plane_close_age_ns(const struct plane *plane);

static inline bool plane_is_closing(const struct plane *plane)
{
    return plane->close.closing || plane->close.opening;
}

/* Wait no longer: `done` is called, and the image is in use for as long as it takes. */
void plane_close_leave(struct plane *plane);
