/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "daemon/state.h"

/*
 * Let go of what others wait for at this process, which is about to end: while one of its threads
 * is in the kernel (an image on a file system that does not answer) its fds stay open, whatever
 * ends it.  Whoever is connected is told, sockets take no connection any more, and the locks of
 * sockets and of the state are free, so that another daemon can start.  What was inherited is left
 * alone.  Images stay locked, as something may still be written to them.  `state` may be NULL.
 * Thread: control, in its last moments.
 */
void let_go(const struct state *state);
