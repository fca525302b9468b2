/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Lines of `vblkctl show` about requests that failed and are held.
 */

#include <jansson.h>

/* Whether they have the disk paused; a daemon of before says nothing. */
void held_show_iostatus(const json_t *disk);

/* How many there are, of which type, and the first of them; nothing where there are none. */
void held_show(const json_t *disk);
