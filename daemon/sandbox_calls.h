/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The system calls that a process may make which serves guests, by a filter of seccomp.
 * Threads inherit their creator's filter, so it is the union of what all of them need.
 * Others fail: with EPERM what could give others power, with ENOSYS what is unknown, so that the C
 * library does without.  No thread is ever ended by it, as others would wait for its locks.
 * Thread: main, before there are others.
 */

#include "core/base/err.h"

/* -ENOSYS: built without libseccomp, or a kernel without it. */
int sandbox_calls_limit(struct err *err);
