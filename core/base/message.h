/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What one thread has another one do.  A message is embedded in the sender's own object, so nothing
 * is allocated on arrival.  It is owned by one side at a time: sending hands it over with all that
 * it points to, and the answer hands it back the same way.
 */

struct message {
    struct message *next;
    void (*run)(struct message *message); /* on the receiver's thread; may free the message */
};
