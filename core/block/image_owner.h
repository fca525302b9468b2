/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which disk of this process has locked a file by an fd, for people who are told why another cannot
 * have it.  No lock goes by it.
 * Thread: any.
 */

#include <stdbool.h>

#define IMAGE_OWNER_BYTES 64

/* `owner` has it from here on, and is copied, cut if need be; NULL: nobody has. */
void image_owner_set(int fd, const char *owner);

/* Returns false when nobody has it. */
bool image_owner_find(int fd, char owner[IMAGE_OWNER_BYTES]);
