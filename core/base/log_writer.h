/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Lines on their way to standard error, for log.c alone.
 *
 * At first whoever logs a line writes it, and waits until it is taken.  After log_writer_start
 * a thread of its own does: lines go into a ring of memory under a lock that is held for a copy
 * and never while something is written, so that nobody waits for whoever reads the log.  Lines
 * that find no room are counted and lost; what is said next begins with how many.
 * Standard error stays blocking: O_NONBLOCK would be for all who share its description.
 */

#include "core/base/err.h"

/* With its line feed. */
#define LOG_LINE_BYTES 1024u

/* Makes a line of how many were lost, and why.  Returns its length.  Thread: any. */
typedef size_t log_writer_lost_fn(char line[LOG_LINE_BYTES], unsigned count, const char *why);

/*
 * Start the thread, and let an abort wait a moment until it has written what is there.
 * Once; or again after log_writer_stop.  Returns -errno.  Thread: main.
 */
int log_writer_start(log_writer_lost_fn *lost_line, struct err *err);

/*
 * Write what is there, for `timeout_ms` at most, and end the thread.  Later lines are dropped, as
 * they might wait.  Returns false when the thread still waits: it is left to the end of the
 * process.
 */
bool log_writer_stop(unsigned timeout_ms);

/* One line that ends in a line feed, `len` up to LOG_LINE_BYTES.  Thread: any. */
void log_writer_put(const char *line, size_t len);
