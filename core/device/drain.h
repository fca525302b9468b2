/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Somebody who waits until nothing is in flight, on the whole device or on one ring.  Who changes
 * memory or rings need not wait for I/O of our own (struct flight), which touches neither and may
 * take as long as the image takes to flush; who takes the image away has to, and who ends lanes
 * has to for theirs.
 * Embedded in the waiter; `done` runs on the disk's thread, never from within the call that asked
 * for it: in the check phase when this thread's own turn ended the drain, in the poll phase, from
 * a message, when that of another lane did.
 */

#include <stdbool.h>

#define DRAIN_DEVICE (-1)

struct drain {
    void (*done)(struct drain *drain);
    struct drain *next;
    int ring;           /* its index, DRAIN_DEVICE: the whole device */
    unsigned own_below; /* what is our own may go on, on lanes below this; of a ring, nothing is */
    bool frees_memory;  /* after it the guest has other uses for its buffers: device_set_fenced */
};
