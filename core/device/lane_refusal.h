/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Requests that the disk refuses are told to people, once for each ring and kind until the ring is
 * started anew: a guest that gets I/O errors while its image is well asks for the reason.
 * The lane's thread.
 */

#include "core/device/queue.h"

/* blk_parse has refused `request`; the status is not written yet. */
void lane_tell_refusal(struct queue *q, const struct request *request);
