/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disks that another process has handed over, and that are ours from here on, go on.
 * Thread: control.
 */

#include "daemon/registry.h"
#include "daemon/take_over.h"

/* `done` runs when all of them have, and take_over_done has told how it went. */
void take_over_thaw(struct take_over *take, struct registry *registry, void (*done)(void *arg),
                    void *arg);
