/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "core/block/node.h"

struct image_given;

/* A raw file or host block device.  Its options are struct image_opts. */
extern const struct node_ops node_file_ops;

/* Of one of these, see image_give. */
void node_file_give(const struct node *node, struct image_given *given);
