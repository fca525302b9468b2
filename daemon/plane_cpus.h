/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The CPUs that a disk's threads run on, with those that help them.  Who is started by one of them
 * has its CPUs.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

/*
 * Before anything else is started: as the settings say, or where none of that is there, wherever
 * the process may.
 */
void plane_cpus_begin(struct plane *plane);

/*
 * All of the disk's threads go to the CPUs of this list.  Returns 0 or -errno, and then they are
 * where they were.
 */
int plane_cpus_use(struct plane *plane, const char *list, struct err *err);

/* Where one of them runs that is not where it was told to, "": all are. */
void plane_cpus_look(const struct plane *plane, char elsewhere[CPUS_TEXT_BYTES]);
