/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/log.h"

#define THREADS 4u
#define LINES_EACH 500u
#define MANY 40000u /* more than there is room for */
#define LINES_OF_CHILD 300u
#define PIPE_BYTES 4096
#define PATIENCE_S 60
#define TEXT_BYTES (4u << 20)

/* Standard error is a pipe that the test reads, or does not. */
struct bench {
    int saved_fd;
    int read_fd;
    char *text; /* what was read so far, owned */
    size_t len;
};

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    int ends[2];

    assert(b && pipe2(ends, O_CLOEXEC) == 0);
    b->text = calloc(1, TEXT_BYTES);
    b->saved_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    assert(b->text && b->saved_fd >= 0);
    assert(fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) == PIPE_BYTES);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    b->read_fd = ends[0];
    log_set_level(LOG_LEVEL_INFO);
    (void)alarm(PATIENCE_S); /* whoever waits for the pipe fails its test */
    *state = b;
    return 0;
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    (void)alarm(0);
    dup2(b->saved_fd, STDERR_FILENO);
    close(b->saved_fd);
    close(b->read_fd);
    free(b->text);
    free(b);
    return 0;
}

/* Not a byte more fits in.  A whole page, as the kernel takes pages from the pipe. */
static void fill(const struct bench *b)
{
    static const char page[PIPE_BYTES] = "\n";
    struct pollfd pollfd = {.fd = STDERR_FILENO, .events = POLLOUT};

    assert_int_equal(write(STDERR_FILENO, page, sizeof(page)), sizeof(page));
    assert_int_equal(poll(&pollfd, 1, 0), 0);
}

/* Take the page of `fill` out again. */
static void drain(const struct bench *b)
{
    char page[PIPE_BYTES];

    assert_int_equal(read(b->read_fd, page, sizeof(page)), sizeof(page));
}

/*
 * More of the log, what comes with one read.  Returns false at its end.  Valgrind looks at all of
 * the memory that is offered, each time.
 */
static bool read_more(struct bench *b)
{
    size_t room = TEXT_BYTES - 1 - b->len;
    ssize_t len = read(b->read_fd, b->text + b->len, min_of(room, (size_t)PIPE_BYTES));

    assert_true(len >= 0);
    b->len += (size_t)len;
    return len > 0;
}

/* What was searched is not searched again: there are megabytes of it, and valgrind is slow. */
static void read_until(struct bench *b, const char *text)
{
    size_t length = strlen(text);
    size_t from = 0;

    while (!strstr(b->text + from, text)) {
        from = b->len > length ? b->len - length : 0;
        assert_true(read_more(b));
    }
}

static void start(void)
{
    struct err err = {0};

    assert_int_equal(log_start(&err), 0);
}

/* All is written, and standard error closed, so that reading ends. */
static void stop_and_read(struct bench *b)
{
    assert_true(log_stop(PATIENCE_S * 1000));
    dup2(b->saved_fd, STDERR_FILENO);
    while (read_more(b)) {
    }
}

static unsigned log_many(void)
{
    unsigned count = 0;

    while (count < MANY) {
        log_info("line %u of many", count++);
    }
    return count;
}

/* The lines of log_many from the start of the text, without a hole.  Returns how many. */
static unsigned count_in_order(const struct bench *b, const char **end)
{
    unsigned count = 0;
    char line[64];

    *end = b->text;
    for (;;) {
        int len = snprintf(line, sizeof(line), "vblkd: info: line %u of many\n", count);

        if (strncmp(*end, line, (size_t)len) != 0) {
            return count;
        }
        *end += len;
        count++;
    }
}

static unsigned lost_at(const char *text)
{
    unsigned lost = 0;

    assert_int_equal(sscanf(text, "vblkd: warn: log: %u lines lost: nobody reads the log", &lost),
                     1);
    return lost;
}

static void full_pipe_holds_nobody_up(void **state)
{
    struct bench *b = *state;

    start();
    fill(b);
    log_many();
    drain(b);
    read_until(b, "lines lost");
    assert_true(log_stop(PATIENCE_S * 1000));
}

static void what_was_lost_is_told_without_another_line(void **state)
{
    struct bench *b = *state;
    const char *rest;
    unsigned count;
    unsigned kept;

    start();
    fill(b);
    count = log_many();
    drain(b);
    read_until(b, "lines lost");
    kept = count_in_order(b, &rest);
    assert_true(kept > 1000);
    assert_int_equal(kept + lost_at(rest), count);
    assert_true(log_stop(PATIENCE_S * 1000));
}

static void gap_is_told_where_it_is(void **state)
{
    struct bench *b = *state;
    const char *rest;
    unsigned count;

    start();
    fill(b);
    count = log_many();
    drain(b);
    while (b->len < 3 * TEXT_BYTES / 32) { /* more than half of what there is room for */
        assert_true(read_more(b));
    }
    log_info("after the gap");
    read_until(b, "after the gap");
    assert_int_equal(count_in_order(b, &rest) + lost_at(rest), count);
    assert_non_null(strstr(rest, "the log\nvblkd: info: after the gap\n"));
    assert_null(strstr(strstr(rest, "lost") + 1, "lost"));
    assert_true(log_stop(PATIENCE_S * 1000));
}

static void *log_from_thread(void *arg)
{
    for (unsigned i = 0; i < LINES_EACH; i++) {
        log_info("thread %u: line %u", (unsigned)(uintptr_t)arg, i);
    }
    return NULL;
}

static void *stop_from_thread(void *arg)
{
    assert_true(log_stop(PATIENCE_S * 1000));
    dup2(((struct bench *)arg)->saved_fd, STDERR_FILENO);
    return NULL;
}

/* Read all that is logged and stopped by another thread. */
static void read_while_stopping(struct bench *b)
{
    pthread_t stopper;

    assert_int_equal(pthread_create(&stopper, NULL, stop_from_thread, b), 0);
    while (read_more(b)) {
    }
    assert_int_equal(pthread_join(stopper, NULL), 0);
}

static void nothing_is_lost_while_somebody_reads(void **state)
{
    struct bench *b = *state;
    pthread_t thread[THREADS];

    start();
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, log_from_thread, (void *)(uintptr_t)i),
                         0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
    read_while_stopping(b);
    for (unsigned i = 0; i < THREADS; i++) {
        const char *at = b->text;
        char line[64];

        for (unsigned k = 0; k < LINES_EACH; k++) {
            (void)snprintf(line, sizeof(line), "info: thread %u: line %u\n", i, k);
            at = strstr(at, line);
            assert_non_null(at);
        }
    }
}

/* Whoever shares the description may have made it so. */
static void nonblocking_standard_error_is_waited_for(void **state)
{
    struct bench *b = *state;
    const char *rest;

    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
    start();
    for (unsigned i = 0; i < LINES_EACH; i++) {
        log_info("line %u of many", i);
    }
    read_while_stopping(b);
    assert_int_equal(count_in_order(b, &rest), LINES_EACH);
}

static void stop_writes_what_is_there(void **state)
{
    struct bench *b = *state;

    start();
    log_info("last words");
    stop_and_read(b);
    assert_string_equal(b->text, "vblkd: info: last words\n");
}

static void what_comes_after_stop_does_not_wait(void **state)
{
    struct bench *b = *state;

    start();
    assert_true(log_stop(PATIENCE_S * 1000));
    fill(b);
    log_info("too late");
    drain(b);
}

static void stop_without_start_does_nothing(void **state)
{
    assert_true(log_stop(0));
}

/*
 * Whether the thread comes to a line before the disk has room again is up to the scheduler, so it
 * is given more time each time.
 */
static void full_disk_is_told_when_there_is_room_again(void **state)
{
    static const char told[] =
        "warn: log: 1 line lost: they could not be written\nvblkd: info: room";
    struct bench *b = *state;
    int full_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int pipe_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

    assert_true(full_fd >= 0 && pipe_fd >= 0);
    start();
    for (unsigned i = 0; !strstr(b->text, told); i++) {
        char line[32];

        (void)snprintf(line, sizeof(line), "room %u\n", i);
        dup2(full_fd, STDERR_FILENO);
        log_info("no room");
        (void)poll(NULL, 0, (int)i);
        dup2(pipe_fd, STDERR_FILENO);
        log_info("room %u", i);
        read_until(b, line);
    }
    close(pipe_fd);
    close(full_fd);
    assert_true(log_stop(PATIENCE_S * 1000));
}

/* A child with the pipe as its standard error.  Its end is the end of the text. */
static pid_t start_child(struct bench *b, void (*run)(struct bench *b))
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0};

        (void)alarm(PATIENCE_S);
        (void)setrlimit(RLIMIT_CORE, &no_core);
        close(b->read_fd); /* or nobody would be told that the reader is gone */
        run(b);
        _exit(99);
    }
    dup2(b->saved_fd, STDERR_FILENO);
    return pid;
}

static void stop_on_full_pipe(struct bench *b)
{
    uint64_t began = now_ns();
    bool has_written;

    start();
    fill(b);
    log_info("nobody sees this");
    has_written = log_stop(100);
    log_info("nor this");
    _exit(!has_written && now_ns() - began > 100 * NS_PER_MS ? 0 : 1);
}

static void stop_gives_up_on_a_full_pipe(void **state)
{
    struct bench *b = *state;
    pid_t pid = start_child(b, stop_on_full_pipe);
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void log_and_abort(struct bench *b)
{
    start();
    for (unsigned i = 0; i < LINES_OF_CHILD; i++) {
        log_info("line %u of many", i);
    }
    abort();
}

static void last_words_before_an_abort_are_written(void **state)
{
    struct bench *b = *state;
    pid_t pid = start_child(b, log_and_abort);
    const char *rest;
    int status;

    while (read_more(b)) {
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_int_equal(count_in_order(b, &rest), LINES_OF_CHILD);
}

static void abort_on_full_pipe(struct bench *b)
{
    start();
    fill(b);
    log_info("nobody sees this");
    abort();
}

static void abort_does_not_wait_for_a_full_pipe(void **state)
{
    struct bench *b = *state;
    pid_t pid = start_child(b, abort_on_full_pipe);
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

#define benched(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        benched(stop_without_start_does_nothing),
        benched(full_pipe_holds_nobody_up),
        benched(what_was_lost_is_told_without_another_line),
        benched(gap_is_told_where_it_is),
        benched(nothing_is_lost_while_somebody_reads),
        benched(nonblocking_standard_error_is_waited_for),
        benched(stop_writes_what_is_there),
        benched(what_comes_after_stop_does_not_wait),
        benched(full_disk_is_told_when_there_is_room_again),
        benched(stop_gives_up_on_a_full_pipe),
        benched(last_words_before_an_abort_are_written),
        benched(abort_does_not_wait_for_a_full_pipe),
    };

    return unit_run(tests);
}
