/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The closing of an image on a thread of its own, as a file system may keep it waiting for ever:
 * some flush (NFS, FUSE), and all have locks to release.  Who began it may go meanwhile.
 * Owned by itself.  Thread: the home mailbox's.
 */

#include "core/base/mailbox.h"
#include "core/block/image.h"

struct image_closing;

/* Once, on the home thread, unless it was abandoned; the closing is gone afterwards. */
typedef void image_closed(void *arg);

/*
 * Nobody may have a path to the image.  `unmake`: see image_unmake, which comes first.  `home` is
 * as with image_opening_begin.  NULL: it is closed already, as it has no file, or there was no
 * thread to be had, and `closed` will not run.
 */
struct image_closing *image_closing_begin(struct image *image, bool unmake, struct mailbox *home,
                                          image_closed *closed, void *arg);

/* What was begun goes on. */
void image_closing_abandon(struct image_closing *closing);
