/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The opening of an image on a thread of its own, as a file system may never answer.  Who began it
 * may go meanwhile: then the thread closes what it has opened, and deletes the file that it has
 * made for that; nobody waits for it, not even the end of the process. Owned by itself.  Thread:
 * the home mailbox's.
 */

#include "core/base/mailbox.h"
#include "core/block/image.h"
#include "core/block/image_progress.h"

struct image_opening;

/*
 * Once, on the home thread, unless it was abandoned; the opening is gone afterwards.
 * `image` is the receiver's, NULL: `err` says why there is none.
 */
typedef void image_opened(void *arg, struct image *image, struct err *err);

/* So many openings and closings may be left to their threads: then no image is opened any more. */
#define IMAGES_LEFT_MAX 64u

/*
 * What `opts` point to is copied.  `home` must stay until `opened` has run, or
 * the opening was abandoned and each message that was sent to it by then has run. Returns 0, or
 * -errno: there is no thread to be had, or -EBUSY: too many images are left.
 */
int image_opening_begin(struct image_opening **out, const struct image_opts *opts,
                        struct mailbox *home, image_opened *opened, void *arg, struct err *err);

/* Somebody else gets it, with the same `arg`. */
void image_opening_redirect(struct image_opening *opening, image_opened *opened);

/* Nobody wants it: what takes long by itself ends soon, and it comes as one that failed. */
void image_opening_cancel(struct image_opening *opening);

/* Whose I/O is to end before it is opened, for people; returns false when nobody's is. */
bool image_opening_waits(struct image_opening *opening, char text[IMAGE_WAIT_BYTES]);

/* How much of a new file was allocated, if that is asked for. */
uint64_t image_opening_bytes(const struct image_opening *opening);

/* Has that become more since the last call? */
bool image_opening_moves(struct image_opening *opening);

/* What was begun goes on until then, or is cancelled. */
void image_opening_abandon(struct image_opening *opening);
