/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * disk.resize: another size of a disk under its guest, and whether the guest knows.
 * Thread: control.
 */

#include "daemon/method.h"

struct resize_target {
    char name[DISK_NAME_BYTES];
    int64_t size;
    bool refresh;
    bool shrink;
    int64_t timeout_ms;
};

extern const struct param resize_params[];

/* `target` is a struct resize_target. */
void run_resize(struct methods *methods, struct call *call, const void *target);
