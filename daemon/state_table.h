/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The disk table as text: what the state file holds.  What is read is checked as parameters of
 * the control protocol are, and what is written is read back first.
 * Thread: control.
 */

#include "daemon/disk_record.h"

/*
 * Raised once between two releases where a member is added or removed, or means something else: a
 * vblkd that does not know it is to say so, and not to call the file damaged.  Files of each
 * version from 1 on are read.  Since 2: config.no_persist, counters.
 */
#define STATE_VERSION 2

/*
 * Of which version is it?  0: it does not begin as a table does that was written by a vblkd.
 */
int state_table_version(const char *text);

/*
 * `*records` is the caller's to free; `path` is for error texts.
 * Returns 0, -EINVAL when the text is damaged or of a newer version, -ENOMEM.
 */
int state_table_parse(const char *path, const char *text, size_t len, struct disk_record **records,
                      size_t *count, struct err *err);

/*
 * One disk of the table, a line, which was read back and is what `record` says.  The caller frees
 * it.  NULL with -ENOMEM, -EILSEQ (text that is not UTF-8), or -EINVAL (a record that would be
 * refused).
 */
char *state_table_row(const struct disk_record *record, struct err *err);

/*
 * The table of `count` rows.  The caller frees it.  NULL without memory, or without one of the
 * rows: a table that misses a disk must not be written.
 */
char *state_table_text(const char *const *rows, size_t count);

/* "PATH is damaged: <why>; what to do", or, for a member that is not known, of another vblkd.
 * Returns -EINVAL. */
int state_table_refuse(const char *path, struct err *err, const char *why);
