/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A disk that is about to go to another process: it comes to rest (nothing is in flight, no message
 * at work, nothing being changed), says what it is, and from that moment on its threads stand
 * still, until control lets them go on, or the process ends.  So nothing of the guest's is touched
 * by two. Counted: by control and by the disk's thread, as either may be done with it first.
 */

#include <uv.h>

#include "daemon/plane_given.h"

struct plane_freeze {
    _Atomic unsigned holders;
    uv_sem_t thaw; /* posted by control, once: it goes on here */
    struct plane_given given;
};

/* For both sides.  NULL without memory.  Thread: control. */
struct plane_freeze *plane_freeze_new(void);

/* Control is done with it: the disk goes on, now or when it gets there.  Thread: control. */
void plane_freeze_let_go(struct plane_freeze *freeze);

/* The same of the disk's thread, whose disk is refused. */
void plane_freeze_refused(struct plane_freeze *freeze);

/* request->freeze is the disk's from now on.  Thread: the disk's. */
void plane_freeze(struct plane *plane, struct plane_request *request);
