/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What replace, insert and eject answer, for people, and the image that `add` is to be without. */

#include <jansson.h>

#include "cmd/ctl/args.h"

/* Either IMAGE or --empty, which becomes a type of image.  Returns -EINVAL with `err` filled. */
int medium_check_add(const struct args *args, struct err *err);

void medium_print(const json_t *disk, const struct args *args);
