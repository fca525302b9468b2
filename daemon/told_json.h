/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What a guest knows of another size of its disk, as an answer tells it.
 * Thread: control.
 */

#include <jansson.h>

#include "transports/vhost_user.h"

/* The members "guest" and "advice"; `comm` is of the front-end's process, "": there is none. */
void told_json_set(json_t *object, bool has_changed, enum vhost_user_told told, const char *comm);
