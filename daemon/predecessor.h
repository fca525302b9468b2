/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The daemon of before, that was killed and has not gone, as it waits for I/O: its locks are waited
 * for, where those of one that lives are refused.
 * Thread: control, before there is a loop.
 */

/*
 * Wait for the locks of the control socket and of the state directory.  Returns 0, or -ECANCELED: a
 * signal that ends the daemon has come.
 */
int predecessor_await(const char *control_path, const char *state_dir);
