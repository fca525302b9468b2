/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A filter over what is not made for several threads: only its home lane, the first that has a
 * path, has paths below.  The others mail their io there, and get it back by mail.
 *
 * The home lane is the disk's own thread, which opens the first path and closes the last, when
 * nothing is in flight; it also ends the other lanes, so that it is never within a send to one
 * that is gone.  It may have several, as when all lanes get other ways to an image: a lane's mail
 * goes to the one that was the newest when its own was opened, which so is closed after it.
 */

#include "core/block/node.h"

/* It has no options. */
extern const struct node_ops node_forward_ops;
