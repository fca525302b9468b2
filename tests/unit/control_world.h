/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The control thread, which the test's own is: its loop, its mailbox and a directory.  What tests
 * of the daemon start from.
 */

#include "core/base/mailbox.h"

struct control_world {
    char dir[64];
    uv_loop_t loop;
    struct mailbox mailbox;
};

/* The start of a test's set-up; `name` is for the directory. */
void control_world_start(struct control_world *w, const char *name);

/* Run the loop until `is_true` is. */
void control_world_wait(struct control_world *w, const bool *is_true);

/* The end of its tear-down: all other handles are closed. */
void control_world_stop(struct control_world *w);
