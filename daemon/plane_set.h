/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Settings that change while the disk is there.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/*
 * All of the change or nothing.  -EBUSY: what is open stays as it was opened.
 * `*has_changed`: something is otherwise than before.
 */
int plane_set(struct plane *plane, const struct settings *change, bool *has_changed,
              struct err *err);

/* Tell a new device what the settings are. */
void plane_set_poll(struct plane *plane);
