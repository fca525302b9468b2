/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Somebody who holds a lock, and lets go when another waits a moment for it: whatever is locked by
 * the fd is free as soon as a thread of the test sleeps.  Link with --wrap=nanosleep.
 */

#include <stdbool.h>

/* `fd`: to be closed then. */
void lock_holder_begin(int fd);

/* Has somebody waited? */
bool lock_holder_has_let_go(void);
