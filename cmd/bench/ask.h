/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the load asks for next: which block, and what is to be done with it.
 */

#include "cmd/bench/load.h"

/* Fill in the slot's request.  Returns false when there is nothing to ask for now. */
bool ask_next(struct load *load, struct front_slot *slot);
