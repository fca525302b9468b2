/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Log lines on standard error, one write(2) each, so that lines of several threads do
 * not mix.  When standard error is the journal, each line starts with its "<priority>".
 * A program whose threads serve somebody calls log_start first: then no line waits.
 * Form: object first, no final period: "vda: ring 0: head 700 past size 256, ring stopped".
 * Thread: any.
 */

#include "core/base/err.h"

enum log_level {
    LOG_LEVEL_ERROR, /* someone must act */
    LOG_LEVEL_WARN,  /* a peer misbehaves */
    LOG_LEVEL_INFO,  /* life-cycle of a disk, few lines */
    LOG_LEVEL_DEBUG, /* all else */
};

/* Set once at start, before any other thread. */
void log_set_level(enum log_level level);

/* The program's name at the start of each line, "vblkd" unless told.  Lent for good.  As above. */
void log_set_name(const char *name);

/*
 * From here on a thread writes what is logged, in the order logged, and nobody waits for whoever
 * reads it: past half a mebibyte that is not read, lines are lost and counted, and the log says
 * how many.  Returns -errno.  Thread: main, before any other that logs.
 */
int log_start(struct err *err);

/* How long an orderly end waits for whoever reads the log. */
#define LOG_STOP_MS 2000u

/*
 * Write what was logged, for `timeout_ms` at most; what is logged later is lost.  Nothing is done
 * without log_start.  Returns false when lines are left: standard error is not read, and whoever
 * writes to it would wait.
 */
bool log_stop(unsigned timeout_ms);

/* "error", "warn", "info", "debug".  Returns false for any other text. */
bool log_parse_level(const char *text, enum log_level *level);

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A line without program, level and threshold: output that somebody asked for. */
void log_plain(const char *fmt, ...) PRINTF_LIKE(1, 2);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A rate limit for lines that a peer can cause at will: at most LOG_LIMIT_LINES in
 * LOG_LIMIT_WINDOW_MS; the first line of the next window says how many were left out.
 * Zeroed memory is a fresh limit.  Owned by the object it limits, used by one thread.
 */
#define LOG_LIMIT_LINES 5
#define LOG_LIMIT_WINDOW_MS 10000

struct log_limit {
    uint64_t window_start_ns;
    unsigned lines;
    unsigned suppressed;
};

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
