/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log_writer.h"
#include "core/base/text.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* The priorities of sd-daemon(3): err, warning, info, debug. */
static const char level_priority[] = {'3', '4', '6', '7'};

static const char *program = "vblkd";
static enum log_level max_level = LOG_LEVEL_INFO;
static bool is_journal;

/* Source: systemd.exec(5), "$JOURNAL_STREAM": device and inode of the stream. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) < 0) {
        return false;
    }
    (void)snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    return strcmp(stream, own) == 0;
}

void log_set_level(enum log_level level)
{
    max_level = level;
    is_journal = stderr_is_journal();
}

void log_set_name(const char *name)
{
    program = name;
}

bool log_parse_level(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/*
 * Behind the `used` bytes that begin the line, cut where it is too long.  A newline in a peer's
 * name or a path makes no line of its own.  Returns the line's length.
 */
PRINTF_LIKE(3, 0)
static size_t finish_line(char line[LOG_LINE_BYTES], int used, const char *fmt, va_list args)
{
    char text[LOG_LINE_BYTES];
    size_t len = (size_t)used;

    (void)vsnprintf(text, sizeof(text), fmt, args);
    len += text_escape(line + len, LOG_LINE_BYTES - 1 - len, text, sizeof(text));
    line[len] = '\n';
    return len + 1;
}

PRINTF_LIKE(3, 0)
static size_t format_va(char line[LOG_LINE_BYTES], enum log_level level, const char *fmt,
                        va_list args)
{
    int used = is_journal ? snprintf(line, LOG_LINE_BYTES, "<%c>", level_priority[level])
                          : snprintf(line, LOG_LINE_BYTES, "%s: %s: ", program, level_names[level]);

    return finish_line(line, used, fmt, args);
}

PRINTF_LIKE(3, 4)
static size_t format_line(char line[LOG_LINE_BYTES], enum log_level level, const char *fmt, ...)
{
    va_list args;
    size_t len;

    va_start(args, fmt);
    len = format_va(line, level, fmt, args);
    va_end(args);
    return len;
}

static size_t format_lost(char line[LOG_LINE_BYTES], unsigned count, const char *why)
{
    return format_line(line, LOG_LEVEL_WARN, "log: %u line%s lost: %s", count,
                       count == 1 ? "" : "s", why);
}

int log_start(struct err *err)
{
    return log_writer_start(format_lost, err);
}

bool log_stop(unsigned timeout_ms)
{
    return log_writer_stop(timeout_ms);
}

PRINTF_LIKE(2, 0) static void log_va(enum log_level level, const char *fmt, va_list args)
{
    char line[LOG_LINE_BYTES];

    log_writer_put(line, format_va(line, level, fmt, args));
}

void log_line(enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (level > max_level) {
        return;
    }
    va_start(args, fmt);
    log_va(level, fmt, args);
    va_end(args);
}

void log_plain(const char *fmt, ...)
{
    char line[LOG_LINE_BYTES];
    va_list args;

    va_start(args, fmt);
    log_writer_put(line, finish_line(line, 0, fmt, args));
    va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *fmt, ...)
{
    uint64_t now = now_ns();
    va_list args;

    if (limit->lines == 0 || now - limit->window_start_ns > LOG_LIMIT_WINDOW_MS * NS_PER_MS) {
        if (limit->suppressed) {
            log_line(level, "%u similar lines were left out", limit->suppressed);
        }
        *limit = (struct log_limit){.window_start_ns = now};
    }
    if (limit->lines++ >= LOG_LIMIT_LINES) {
        limit->suppressed++;
        return;
    }
    if (level <= max_level) {
        va_start(args, fmt);
        log_va(level, fmt, args);
        va_end(args);
    }
}
