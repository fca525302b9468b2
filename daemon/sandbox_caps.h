/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What of root's powers the process keeps: those by which it opens images and makes sockets.
 * Thread: main, before there are others.
 */

#include "core/base/err.h"

/* Of whoever has none there is nothing to take. */
int sandbox_caps_limit(struct err *err);

/* None of them could come back: before the user changes, which takes them. */
void sandbox_caps_bound(void);

/* Has it any by now? */
bool sandbox_caps_any(void);
