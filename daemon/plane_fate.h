/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Requests that wait for a look at what has become of the image's file (plane_look.h), and what
 * speaks against closing it.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/*
 * Returns true when the request has to wait for a look: `then` is called with it afterwards, or
 * when the file system does not answer in time.
 */
bool plane_fate_first(struct plane *plane, struct plane_request *request,
                      void (*then)(struct plane *plane, struct plane_request *request));

/* Look before the image is closed, though nobody has asked: plane_sync waits for it. */
void plane_fate_look(struct plane *plane);

/* What speaks against closing the image.  Returns false when nothing does, as far as is known. */
bool plane_fate_objects(const struct plane *plane, const struct plane_request *request,
                        struct err *err);

/* Returns true when the image would be lost, nobody insists, and the request is answered so. */
bool plane_fate_refuse(struct plane *plane, struct plane_request *request);

/*
 * The same for all that wait for a stop, when nothing else is left but to close the image: what was
 * not known in time is known by now.  Those whose time is over were told that it goes on; the log
 * has it.
 */
bool plane_fate_refuse_stop(struct plane *plane);

/* May that still happen to the stop that is under way? */
bool plane_fate_may_refuse_stop(const struct plane *plane);
