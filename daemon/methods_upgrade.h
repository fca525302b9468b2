/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The method by which another process asks for all disks.
 * Thread: control.
 */

#include "daemon/method.h"

struct hand_over_target {
    int64_t version;
    int64_t timeout_ms; /* for all disks to come to rest */
};

extern const struct param hand_over_params[];

void run_hand_over(struct methods *methods, struct call *call, const void *target);
