/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The registers of the disk, for its driver: there are none, as all goes to the back-end by
 * messages.  The bus is the front.
 */

#include "cmd/bench/front.h"

extern const struct blk_driver_ops front_bus_ops;
