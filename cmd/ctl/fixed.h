/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What `set` does not change: rows of a disk that are no settings, which are settled when it is
 * added.
 */

#include "core/base/err.h"
#include "core/base/param.h"

/*
 * Is `key`, "serial" of "serial=X" or "--serial", a row of `table` that people can give to add?
 * Then -EINVAL with a sentence that tells how the disk gets another value: the word that follows
 * the key and its sign, or what stands for one.  `name`: of the disk, "": it was not given.
 * Returns 0 when it is no such row.
 */
int fixed_refuse(const struct param *table, const char *name, const char *key, struct err *err);
