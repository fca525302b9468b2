/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * That the image is handed over, on its way to the state file: a daemon that is killed afterwards
 * and comes back shall not lock what another host's guest writes to by then, or wants to.
 * Thread: the disk's, but for plane_keep_kept.
 */

#include "daemon/plane.h"

/* Let control keep it, and call `done`, also when it cannot be kept. */
void plane_keep(struct plane *plane, void (*done)(struct plane *plane));

/* Nobody waits for it any more; what was begun goes on. */
void plane_keep_forget(struct plane *plane);

/* plane->keep.err says whether it is kept.  The disk's thread is there.  Thread: control. */
void plane_keep_kept(struct plane *plane);
