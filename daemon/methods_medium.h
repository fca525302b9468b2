/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Methods that give a disk another image.
 * Thread: control.
 */

#include "daemon/method.h"

extern const struct method medium_methods[];
