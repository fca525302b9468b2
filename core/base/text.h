/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Text of others, on its way to a terminal or the log: names of files and programs, and sentences
 * that have such a name in them.
 * Thread: any.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What text_escape may make of a byte. */
#define TEXT_ESCAPE_MAX 4u

/*
 * `text`, up to its end or `len` bytes, as printable UTF-8.  In place of what a terminal acts on or
 * a reader is misled by stands its number:
 *
 *   \x1b     a byte of a control character (C0 or DEL), or one that is no UTF-8: a terminal
 *            may take it for a control character of another character set
 *   \u009b   a control character beyond ASCII (C1), a separator of lines or paragraphs, or a
 *            character that turns the direction in which what follows is read
 *
 * All else stays, the backslash too: it is for people, who know what a name may look like.
 * Cut where `out` of `size` bytes ends, between characters.  Returns the length.
 * Source: ECMA-48 5.2 and 5.3 (C0, C1); Unicode 15.0, 3.9 D92 "UTF-8", 23.2 "Layout Controls".
 */
size_t text_escape(char *out, size_t size, const char *text, size_t len);

/* The same of all of `text`, as an argument of printf.  Returns `out`. */
const char *text_safe(const char *text, char *out, size_t size);

#define TEXT_QUOTED_BYTES 320u

/*
 * A path as a word of a command that a person is shown to paste: in quotes where a shell wants
 * them, those of $'...' (bash, zsh, ksh) where it has what text_escape would change, and "PATH"
 * where it is too long for a sentence.  Returns `out`.
 */
const char *text_quote(const char *path, char out[TEXT_QUOTED_BYTES]);

/* Is all of it UTF-8?  JSON carries nothing else. */
bool text_is_utf8(const char *text);

/* A user's or group's number in decimal, all of `text`; UINT32_MAX is none.  Source: chown(2). */
bool text_is_id(const char *text, uint32_t *id);
