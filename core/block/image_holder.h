/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Who has locked an image, for people: a process, or a disk of this one.
 * Thread: any; as holder.h.
 */

#include "core/base/holder.h"

/* "qemu-system-x86_64 (pid 123)" or "vda, a disk of this vblkd" */
void image_holder_say(const struct holder *holder, char text[HOLDER_BYTES]);
