/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One question to the broker: is it allowed, and what comes of it.
 * Thread: any of the broker's.
 */

#include "core/base/names.h"
#include "daemon/broker_rules.h"

/* No socket, lock or directory of those may be there: no system call says so by itself. */
#define BROKER_NO_SOCKET ENOTUNIQ

/* `fd`, -1: none, stays the caller's; so does what is opened, which is answer->ret. */
void broker_work(const struct broker_rules *rules, const struct names_question *question, int fd,
                 struct names_answer *answer);

/* Is `ret` of its answer a file descriptor? */
bool broker_opens(const struct names_question *question);
