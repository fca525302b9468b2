/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A process of our own that keeps the rights by which images are opened and sockets made, for one
 * that serves guests without them: it is asked by core/base/names.h, looks whether it may
 * (broker_rules.h), and passes file descriptors.  It knows nothing of guests, has none of their
 * memory, and keeps no file open after it has answered, so no lock is its own.  Each question has a
 * thread, as a file system may not answer.  It ends when the one that asks does, however that
 * comes.
 */

#include "core/base/err.h"
#include "daemon/broker_rules.h"

/*
 * From here on names are asked of it.  Before there are threads, and before rights are given up.
 * `*rules` outlives both processes; its asker is set here.  `limit`: it is in a sandbox itself,
 * with the rights that it needs.
 */
int broker_start(struct broker_rules *rules, bool limit, struct err *err);
