/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The limits of a disk as people set them: rows of settings_params (settings.h), whose target is a
 * struct rates.
 * Constant data.
 */

#include "core/base/param.h"

extern const struct param rate_params[];

/* What stands for no group. */
#define GROUP_NONE "none"
