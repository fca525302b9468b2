/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Commands in what vblkd says, "first 'vblkctl stop vda'": vblkd does not know how it was reached.
 */

#include <jansson.h>

/*
 * `text` with "--control PATH" in its commands.  The caller frees it; NULL without memory, or
 * when it stays as it is.  `control` NULL: they work without.
 */
char *hint_complete(const char *text, const char *control);

/* The same for the sentences of an answer: warnings, and why a disk has failed. */
void hint_complete_answer(json_t *answer, const char *control);
