/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "core/block/node.h"

/* A raw file or host block device.  Its options are struct image_opts. */
extern const struct node_ops node_file_ops;
