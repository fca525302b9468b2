/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What of a file or a device is given back together.
 */

#include <stdint.h>

/*
 * In bytes, a power of two, 0: nothing can be given back.  A file system of which that is not known
 * is asked to make a hole past the end of the file, which is open for writing.
 * Thread: any; may block.
 */
uint32_t granule_of_fd(int fd);
