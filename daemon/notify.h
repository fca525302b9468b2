/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Tell the service manager how far we are: a datagram to $NOTIFY_SOCKET, a path or, with a
 * leading '@', an abstract name.
 * Thread: control.
 * Source: sd_notify(3), "Notes".
 */

/* `state` such as "READY=1".  Nothing happens when nobody asked to be told. */
void notify_manager(const char *state);
