/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Names of virtio feature bits, of block devices and of rings, for people.
 * Constant data.  Thread: any.
 */

#include "core/base/base.h"

/* As the constants have it, "seg_max"; NULL: none is known. */
const char *feature_name(unsigned bit);

#define FEATURES_TEXT_BYTES 160

/* "0x2020 (ro, discard)"; cut where there is no more room. */
const char *features_say(uint64_t features, char text[FEATURES_TEXT_BYTES]);
