/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * disk.*: what can be asked of disks.
 * Thread: control.
 */

#include "daemon/method.h"

/* Ends with a method without a name. */
extern const struct method disk_methods[];
