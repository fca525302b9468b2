/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How large the guest of a disk is told to make its requests, as it was asked for.
 * Thread: control.
 */

#include "core/base/err.h"
#include "core/virtio/blk_opts.h"
#include "daemon/disk_params.h"

/*
 * Is it what a disk can have, as far as that is known before its image is?  0, or -EINVAL with a
 * text that begins with the member.
 */
int disk_limits_check(const struct disk_config *config, struct err *err);

/* What has its default is 0: unlike what was said, it is right for each image. */
struct blk_limits disk_limits_of(const struct disk_config *config);

/* Segments of data in a request; unless it was said, no more than fit into its queues. */
unsigned disk_limits_seg_max(const struct disk_config *config);

/* What the guest is told that a discard gives back together, at most. */
uint32_t disk_limits_discard_block(const struct disk_config *config);
