/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The other side of the broker: who asks.  A question goes by one socket for all threads, and has a
 * socket of its own for its answer, which its thread waits for.
 * Thread: any.
 */

/* From here on; `sock` is connected to a broker, and stays open. */
void broker_ask_by(int sock);
