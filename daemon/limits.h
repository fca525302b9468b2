/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the process may have of files and threads, and what to say when it is not enough.
 */

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/* Raise the limit of open files as far as it goes.  Before any are opened. */
void limits_raise(void);

/* Log how far that was. */
void limits_log(void);

/*
 * Is there room for `what`, such as "one more disk", so that control clients and the state file
 * can still be served?  -EMFILE, with what to do, when there is not; `name` is the disk's.
 * Thread: control.
 */
int limits_check(const char *name, const char *what, struct err *err);

/*
 * The same at the start of the daemon, for all disks of the table, which need `files`: one that
 * comes up without files for its control socket could not be told to end.
 */
int limits_check_all(size_t count, uint64_t files, struct err *err);

/* Append what to raise to an error of a limit; nothing to others.  Thread: any. */
void limits_hint(struct err *err);
