/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <config.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/block/engine.h"
#include "tests/unit/image_world.h"
#include "tests/unit/operation.h"

#ifdef HAVE_LIBURING
#define HAS_URING true
#else
#define HAS_URING false
#endif

/* ---- a thread that the kernel refuses things ---- */

/*
 * From now on `calls` of this thread do not happen: they end as `verdict` says.  Returns false
 * where that cannot be had.
 */
static bool refuse(const unsigned *calls, unsigned count, uint32_t verdict)
{
    struct sock_filter filter[32] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    unsigned at = 1;

    for (unsigned i = 0; i < count; i++) {
        filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
        filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict);
    }
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    return !RUNNING_ON_VALGRIND && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                 &(struct sock_fprog){.len = (unsigned short)at, .filter = filter}) == 0;
}

struct attempt {
    struct image_opts opts;
    unsigned call;   /* which the kernel refuses */
    uint32_t code;   /* as its error */
    bool is_refused; /* the filter works */
    int ret;
    char engine[16];
    char reason[ENGINE_REASON_BYTES];
    int64_t result; /* of a read */
    struct err err;
};

static void *run_attempt(void *arg)
{
    struct attempt *attempt = arg;
    struct way way;
    uint8_t data[512];

    attempt->is_refused = refuse(&attempt->call, 1, SECCOMP_RET_ERRNO | attempt->code);
    attempt->ret = way_open(&way, &attempt->opts, &attempt->err);
    if (attempt->ret == 0) {
        strncpy(attempt->engine, way.path->facts.engine, sizeof(attempt->engine) - 1);
        strncpy(attempt->reason, way.path->facts.engine_reason, sizeof(attempt->reason) - 1);
        attempt->result = operation_do(way.path, IO_READ, 0, data, sizeof(data));
        way_close(&way);
    }
    return NULL;
}

/* A seccomp profile is for good, so it is a thread's. */
static void attempt_without(struct attempt *attempt, unsigned call, uint32_t code)
{
    pthread_t thread;

    attempt->call = call;
    attempt->code = code;
    if (pthread_create(&thread, NULL, run_attempt, attempt) != 0) {
        abort();
    }
    pthread_join(thread, NULL);
}

static struct attempt attempt_without_uring(struct image_world *w, enum io_engine engine)
{
    struct attempt attempt = {.opts = image_world_opts(w, w->image, CACHE_WRITEBACK)};

    attempt.opts.engine = engine;
    attempt_without(&attempt, SYS_io_uring_setup, EPERM);
    return attempt;
}

/* ---- which one runs ---- */

/* Is io_uring to be had here? */
static bool uring_works(struct image_world *w)
{
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct way way;
    bool works;

    opts.engine = ENGINE_IO_URING;
    if (way_open(&way, &opts, &w->err) < 0) {
        return false;
    }
    works = strcmp(way.path->facts.engine, "io_uring") == 0;
    way_close(&way);
    return works;
}

static void expect_engine(struct image_world *w, enum cache_mode cache, const char *engine,
                          const char *reason)
{
    struct path *path = image_world_open(w, cache);

    assert_string_equal(path->facts.engine, engine);
    assert_non_null(strstr(path->facts.engine_reason, reason));
}

static void engine_that_is_asked_for_runs(void **state)
{
    struct image_world *w = *state;
    bool has_uring = uring_works(w);

    w->engine = ENGINE_AIO;
    expect_engine(w, CACHE_WRITEBACK, "aio", "asked for");
    way_close(&w->way);
    if (has_uring) {
        w->engine = ENGINE_IO_URING;
        expect_engine(w, CACHE_WRITEBACK, "io_uring", "asked for");
    }
}

static void auto_takes_aio_for_direct_io(void **state)
{
    expect_engine(*state, CACHE_NONE, "aio", "O_DIRECT");
}

/* Where we are built on one. */
static bool is_on_tmpfs(const struct image_world *w)
{
    struct statfs fs;

    assert_int_equal(statfs(w->dir, &fs), 0);
    return fs.f_type == TMPFS_MAGIC;
}

static void auto_takes_io_uring_for_the_page_cache(void **state)
{
    struct image_world *w = *state;

    if (is_on_tmpfs(w)) {
        return;
    }
    if (uring_works(w)) {
        expect_engine(w, CACHE_WRITEBACK, "io_uring", "page cache");
    } else {
        expect_engine(w, CACHE_WRITEBACK, "threads", "io_uring");
    }
}

static int start_in_shm(void **state)
{
    return image_world_start_in(state, "/dev/shm/test_engine.XXXXXX");
}

static void auto_takes_aio_for_tmpfs(void **state)
{
    if (is_on_tmpfs(*state)) { /* /dev/shm is whatever is mounted there */
        expect_engine(*state, CACHE_WRITEBACK, "aio", "tmpfs");
    }
}

static void expect_unfenced(const struct image_world *w, enum io_engine engine, const char *name)
{
    struct engine_opts opts = {
        .path = w->image, .is_unfenced = true, .engine = engine, .wanted = 16};
    struct engine *opened;

    opts.fd = open(w->image, O_RDWR | O_CLOEXEC);
    assert_int_equal(engine_open(&opened, &opts, NULL), 0);
    assert_string_equal(opened->ops->name, name);
    assert_non_null(strstr(opened->reason, "no locks"));
    opened->ops->close(opened);
    close(opts.fd);
}

static void what_outlives_a_process_is_not_taken_where_nothing_tells_of_it(void **state)
{
    struct image_world *w = *state;

    if (!uring_works(w) || is_on_tmpfs(w)) {
        return;
    }
    expect_unfenced(w, ENGINE_IO_URING, "aio");
    expect_unfenced(w, ENGINE_AUTO, "threads");
}

static void auto_says_why_there_is_no_io_uring(void **state)
{
    struct attempt attempt = attempt_without_uring(*state, ENGINE_AUTO);

    if (!attempt.is_refused || is_on_tmpfs(*state)) {
        return; /* no seccomp here, or no need of io_uring */
    }
    assert_int_equal(attempt.ret, 0);
    assert_string_equal(attempt.engine, "threads");
    assert_non_null(strstr(attempt.reason, HAS_URING ? "refuses io_uring: Operation not permitted"
                                                     : "built without"));
    assert_int_equal(attempt.result, 0);
}

static void io_uring_that_is_refused_gives_way_to_aio(void **state)
{
    struct attempt attempt = attempt_without_uring(*state, ENGINE_IO_URING);

    if (!attempt.is_refused) {
        return;
    }
    if (HAS_URING) {
        assert_int_equal(attempt.ret, 0);
        assert_string_equal(attempt.engine, "aio");
        assert_non_null(strstr(attempt.reason, "refuses io_uring: Operation not permitted"));
        assert_int_equal(attempt.result, 0);
    } else {
        assert_int_equal(attempt.ret, -ENOTSUP);
        assert_non_null(strstr(attempt.err.text, "built without"));
    }
}

static void auto_takes_io_uring_when_no_aio_context_is_left(void **state)
{
    struct image_world *w = *state;
    struct attempt attempt = {.opts = image_world_opts(w, w->image, CACHE_NONE)};
    bool has_uring = uring_works(w);

    if (!image_world_has_direct(w)) {
        return;
    }
    attempt_without(&attempt, SYS_io_setup, EAGAIN);
    if (attempt.is_refused && has_uring) {
        assert_int_equal(attempt.ret, 0);
        assert_string_equal(attempt.engine, "io_uring");
        assert_non_null(strstr(attempt.reason, "aio-max-nr"));
        assert_int_equal(attempt.err.code, 0); /* or the disk's client would hear of a failure */
        assert_int_equal(attempt.result, 0);
    }
    attempt.opts.engine = ENGINE_AIO;
    attempt_without(&attempt, SYS_io_setup, EAGAIN);
    if (attempt.is_refused) {
        assert_int_equal(attempt.ret, -EAGAIN);
        assert_non_null(strstr(attempt.err.text, "aio-max-nr"));
    }
}

/* ---- what it costs to look ---- */

static volatile sig_atomic_t trapped;

static void on_trap(int signal)
{
    trapped++;
}

struct looker {
    const struct engine_ops *ops;
    int fd; /* of a pipe */
    int other_end;
    bool has_operation; /* one that does not end */
    bool is_watched;
    bool is_open;
    unsigned found;
    unsigned calls;
};

/* Look often; system calls that a look might make are counted. */
static void *look(void *arg)
{
    static const unsigned calls[] = {
        SYS_read,      SYS_readv, SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter,
        SYS_io_submit, SYS_ppoll, SYS_epoll_pwait,  SYS_clock_gettime, SYS_timerfd_settime};
    struct looker *looker = arg;
    struct engine_opts opts = {.path = "pipe", .fd = looker->fd, .wanted = 16};
    struct engine_event events[ENGINE_EVENTS];
    struct engine *engine;
    uint8_t byte;
    struct iovec iov = {&byte, 1};

    looker->is_open = looker->ops->open(&engine, &opts, NULL) == 0;
    if (!looker->is_open) {
        close(looker->other_end);
        return NULL;
    }
    if (looker->has_operation) {
        struct engine_op op = {
            .op = IO_READ, .iov = &iov, .iov_count = 1, .offset = UINT64_MAX /* a pipe has none */};

        engine->ops->add(engine, &op);
        engine->ops->submit(engine);
    }
    looker->is_watched = refuse(calls, ARRAY_SIZE(calls), SECCOMP_RET_TRAP);
    for (unsigned i = 0; i < 1000; i++) {
        looker->found += engine->ops->reap(engine, events, ENGINE_EVENTS);
    }
    looker->calls = (unsigned)trapped;
    close(looker->other_end); /* the operation ends */
    engine->ops->close(engine);
    return NULL;
}

static void looking_costs_no_system_call(const struct engine_ops *ops, bool has_operation)
{
    struct looker looker = {.ops = ops, .has_operation = has_operation};
    pthread_t thread;
    int pipe_fd[2];

    trapped = 0;
    signal(SIGSYS, on_trap);
    assert_int_equal(pipe(pipe_fd), 0);
    looker.fd = pipe_fd[0];
    looker.other_end = pipe_fd[1];
    if (pthread_create(&thread, NULL, look, &looker) != 0) {
        abort();
    }
    pthread_join(thread, NULL);
    signal(SIGSYS, SIG_DFL);
    close(pipe_fd[0]);
    if (looker.is_open && looker.is_watched) {
        assert_int_equal(looker.found, 0);
        assert_int_equal(looker.calls, 0);
    }
}

static void looking_at_aio_costs_no_system_call(void **state)
{
    looking_costs_no_system_call(&engine_aio_ops, false);
}

static void looking_at_threads_costs_no_system_call(void **state)
{
    looking_costs_no_system_call(&engine_threads_ops, false);
}

static void looking_at_threads_with_work_costs_no_system_call(void **state)
{
    looking_costs_no_system_call(&engine_threads_ops, true);
}

/* ---- ends that are not signalled ---- */

struct silence {
    struct engine *engine;
    int fd; /* of the image */
    uint8_t *data;
};

static void silence_start(struct silence *s, struct image_world *w)
{
    struct engine_opts opts = {.path = w->image, .wanted = 16};

    s->fd = opts.fd = open(w->image, O_RDWR | O_CLOEXEC);
    s->data = aligned_buffer(BLOCK);
    assert_int_equal(pwrite(s->fd, s->data, BLOCK, 0), BLOCK);
    assert_int_equal(engine_aio_ops.open(&s->engine, &opts, NULL), 0);
}

static void silence_stop(struct silence *s)
{
    s->engine->ops->close(s->engine);
    close(s->fd);
    free(s->data);
}

static void submit_one(struct silence *s, enum io_op op)
{
    struct iovec iov = {s->data, BLOCK};

    assert_true(s->engine->ops->add(
        s->engine, &(struct engine_op){.op = op, .iov = &iov, .iov_count = op != IO_FLUSH}));
    assert_int_equal(s->engine->ops->submit(s->engine), 1);
}

/* Returns whether it was signalled. */
static bool wait_for_one(struct silence *s, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = s->engine->ops->fd(s->engine), .events = POLLIN};
    struct engine_event events[ENGINE_EVENTS];
    bool is_signalled = poll(&poll_fd, 1, timeout_ms) == 1;
    uint64_t signals;

    if (is_signalled) {
        assert_int_equal(read(poll_fd.fd, &signals, sizeof(signals)), sizeof(signals));
    }
    while (s->engine->ops->reap(s->engine, events, ENGINE_EVENTS) == 0) {
        assert_true(s->engine->must_look);
    }
    assert_true(events[0].result >= 0);
    return is_signalled;
}

static void train(struct silence *s)
{
    for (unsigned i = 0; i < 64; i++) {
        submit_one(s, IO_READ);
        assert_true(wait_for_one(s, 0));
        assert_false(s->engine->must_look);
    }
}

static void what_ends_at_once_goes_unsignalled_after_a_while(void **state)
{
    struct silence s;

    silence_start(&s, *state);
    train(&s);
    submit_one(&s, IO_READ);
    assert_false(wait_for_one(&s, 0));
    assert_false(s.engine->must_look);
    silence_stop(&s);
}

static void flush_is_always_signalled(void **state)
{
    struct silence s;

    silence_start(&s, *state);
    train(&s);
    submit_one(&s, IO_FLUSH);
    assert_false(s.engine->must_look);
    assert_true(wait_for_one(&s, 10000));
    submit_one(&s, IO_READ); /* a flush takes its time, and proves nothing */
    assert_false(wait_for_one(&s, 0));
    silence_stop(&s);
}

/* The image becomes one that takes its time: nobody may wait for a signal. */
static void unsignalled_operation_that_takes_its_time_is_looked_for(void **state)
{
    struct image_world *w = *state;
    struct silence s;

    silence_start(&s, w);
    train(&s);
    assert_int_equal(fsync(s.fd), 0);
    if (image_world_has_direct(w) && fcntl(s.fd, F_SETFL, O_DIRECT) == 0) {
        submit_one(&s, IO_READ);
        assert_true(s.engine->must_look);
        assert_false(wait_for_one(&s, 0));
        assert_false(s.engine->must_look);
    }
    silence_stop(&s);
}

#ifdef HAVE_LIBURING
static void looking_at_io_uring_costs_no_system_call(void **state)
{
    looking_costs_no_system_call(&engine_uring_ops, false);
}

static void looking_at_io_uring_with_work_costs_no_system_call(void **state)
{
    looking_costs_no_system_call(&engine_uring_ops, true);
}

/* A disk that has little to do sleeps: each end of an operation has to be signalled. */
static void io_uring_signals_what_finishes_later(void **state)
{
    struct engine_opts opts = {.path = "pipe", .wanted = 16};
    struct engine_event events[ENGINE_EVENTS];
    struct engine *engine;
    char data[2] = "";
    struct iovec iov = {data, 1};
    struct pollfd poll_fd = {.events = POLLIN};
    int pipe_fd[2];

    assert_int_equal(pipe(pipe_fd), 0);
    opts.fd = pipe_fd[0];
    if (engine_uring_ops.open(&engine, &opts, NULL) < 0) {
        close(pipe_fd[0]);
        close(pipe_fd[1]);
        return; /* the kernel refuses it */
    }
    poll_fd.fd = engine->ops->fd(engine);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t signals;
        struct engine_op op = {.op = IO_READ, .iov = &iov, .iov_count = 1, .data = data};

        assert_true(engine->ops->add(engine, &op));
        assert_int_equal(engine->ops->submit(engine), 1);
        assert_int_equal(engine->ops->reap(engine, events, ENGINE_EVENTS), 0);
        assert_int_equal(poll(&poll_fd, 1, 0), 0);
        assert_int_equal(write(pipe_fd[1], "x", 1), 1);
        assert_int_equal(poll(&poll_fd, 1, 10000), 1);
        assert_int_equal(engine->ops->reap(engine, events, ENGINE_EVENTS), 1);
        assert_ptr_equal(events[0].data, data);
        assert_int_equal(events[0].result, 1);
        assert_int_equal(read(poll_fd.fd, &signals, sizeof(signals)), sizeof(signals));
        assert_int_equal(signals, 1); /* what we do ourselves wakes nobody */
    }
    engine->ops->close(engine);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

/*
 * The page cache is empty, so that completions come from the medium, on another core, while
 * this thread looks for them without sleeping: then the kernel leaves its flag set now and
 * again when there is nothing to do, and a look that waits for it to go never ends.
 */
static void looking_finds_what_comes_from_the_medium(void **state)
{
    enum { DEPTH = 32, BLOCKS = 4096, ROUNDS = 4 };
    struct image_world *w = *state;
    static struct operation ops[DEPTH];
    static uint8_t data[DEPTH][BLOCK];
    uint8_t *block = aligned_buffer(1 << 20);
    int fd = open(w->image, O_RDWR | O_CLOEXEC);
    struct path *path;
    unsigned next = 0, done = 0;

    for (unsigned i = 0; i < BLOCKS * BLOCK >> 20; i++) {
        assert_int_equal(pwrite(fd, block, 1 << 20, i << 20), 1 << 20);
    }
    assert_int_equal(fsync(fd), 0);
    free(block);
    path = image_world_open(w, CACHE_WRITEBACK);
    alarm(60);
    for (unsigned i = 0; i < DEPTH; i++) {
        ops[i].times_done = 1;
    }
    while (done < ROUNDS * BLOCKS) {
        for (unsigned i = 0; i < DEPTH; i++) {
            if (ops[i].times_done == 1 && next < ROUNDS * BLOCKS) {
                if (next % BLOCKS == 0) {
                    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
                }
                operation_init(&ops[i], IO_READ, next++ * 1237ull % BLOCKS * BLOCK, data[i], BLOCK);
                operation_queue(&ops[i], path);
            }
        }
        context_submit(path->context);
        done += context_reap(path->context);
    }
    alarm(0);
    close(fd);
}
#endif

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(engine_that_is_asked_for_runs),
        in_world(auto_takes_aio_for_direct_io),
        in_world(auto_takes_io_uring_for_the_page_cache),
        cmocka_unit_test_setup_teardown(auto_takes_aio_for_tmpfs, start_in_shm, image_world_stop),
        in_world(what_outlives_a_process_is_not_taken_where_nothing_tells_of_it),
        in_world(auto_says_why_there_is_no_io_uring),
        in_world(io_uring_that_is_refused_gives_way_to_aio),
        in_world(auto_takes_io_uring_when_no_aio_context_is_left),
        in_world(what_ends_at_once_goes_unsignalled_after_a_while),
        in_world(flush_is_always_signalled),
        in_world(unsignalled_operation_that_takes_its_time_is_looked_for),
        cmocka_unit_test(looking_at_aio_costs_no_system_call),
        cmocka_unit_test(looking_at_threads_costs_no_system_call),
        cmocka_unit_test(looking_at_threads_with_work_costs_no_system_call),
#ifdef HAVE_LIBURING
        cmocka_unit_test(looking_at_io_uring_costs_no_system_call),
        cmocka_unit_test(looking_at_io_uring_with_work_costs_no_system_call),
        cmocka_unit_test(io_uring_signals_what_finishes_later),
        by_uring(looking_finds_what_comes_from_the_medium),
#endif
    };

    return unit_run(tests);
}
