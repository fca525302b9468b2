/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A few threads of the disk's own that may wait for the page cache, for hosts without io_uring.
 * Operations and results are handed over in lists under a lock, an eventfd tells of results.
 * What is in the page cache already is read at once, by the disk's thread.
 *
 * `waiting`, `results`, `idle` and `is_ending` are under the lock, `has_results` beside it tells
 * the disk's thread without one.  All else is the disk thread's.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/block/engine.h"
#include "core/base/cpus.h"
#include "core/base/thread.h"

#define THREADS 4u
#define JOBS 64u

struct job {
    struct job *next;
    struct engine_op op;
    int64_t result;
};

struct job_list {
    struct job *first;
    struct job **last;
};

struct threads {
    struct engine engine;
    int file_fd; /* lent */
    int event_fd;
    unsigned thread_count;
    pthread_t thread[THREADS];
    unsigned batch_count;
    bool may_try; /* the file system can say that it would block */
    struct job *unused;
    struct job_list batch; /* added, not yet submitted */
    struct job_list taken; /* results, not yet told */
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct job_list waiting;
    struct job_list results;
    unsigned idle; /* threads that wait for work */
    bool is_ending;
    /* Stored under the lock.  Its partner is the load in threads_reap, which takes the lock next.
     */
    _Atomic bool has_results;
    struct job job[JOBS];
};

static struct threads *threads_of(struct engine *engine)
{
    return containerof(engine, struct threads, engine);
}

static void list_init(struct job_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void list_push(struct job_list *list, struct job *job)
{
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct job *list_pop(struct job_list *list)
{
    struct job *job = list->first;

    list->first = job->next;
    if (!list->first) {
        list->last = &list->first;
    }
    return job;
}

/* All of `from` goes behind `to`. */
static void list_move(struct job_list *to, struct job_list *from)
{
    if (from->first) {
        *to->last = from->first;
        to->last = from->last;
        list_init(from);
    }
}

/* ---- the threads ---- */

static int64_t run_op(const struct threads *threads, const struct engine_op *op)
{
    int fd = threads->file_fd;
    ssize_t ret;

    switch (op->op) {
    case IO_READ:
        ret = preadv2(fd, op->iov, (int)op->iov_count, (off_t)op->offset, 0);
        break;
    case IO_WRITE:
        ret = pwritev2(fd, op->iov, (int)op->iov_count, (off_t)op->offset,
                       op->flags & IO_FUA ? RWF_DSYNC : 0);
        break;
    case IO_FLUSH:
    default:
        ret = fdatasync(fd);
        break;
    }
    return ret < 0 ? -errno : ret;
}

static void wake_disk(const struct threads *threads)
{
    const uint64_t one = 1;
    ssize_t ret = write(threads->event_fd, &one, sizeof(one));

    (void)ret; /* it cannot overflow: one for each time that there were no results */
}

/* Returns NULL when it is time to end.  Under the lock. */
static struct job *wait_for_work(struct threads *threads)
{
    while (!threads->waiting.first && !threads->is_ending) {
        threads->idle++;
        pthread_cond_wait(&threads->has_work, &threads->lock);
        threads->idle--;
    }
    return threads->waiting.first ? list_pop(&threads->waiting) : NULL;
}

static void *run_jobs(void *arg)
{
    struct threads *threads = arg;
    struct job *job;

    pthread_mutex_lock(&threads->lock);
    while ((job = wait_for_work(threads))) {
        bool is_first;

        pthread_mutex_unlock(&threads->lock);
        job->result = run_op(threads, &job->op);
        pthread_mutex_lock(&threads->lock);
        is_first = !threads->results.first;
        list_push(&threads->results, job);
        atomic_store_explicit(&threads->has_results, true, memory_order_relaxed);
        if (is_first) {
            pthread_mutex_unlock(&threads->lock);
            wake_disk(threads);
            pthread_mutex_lock(&threads->lock);
        }
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

static int start_thread(struct threads *threads)
{
    int ret = thread_start(&threads->thread[threads->thread_count], run_jobs, threads);

    threads->thread_count += ret == 0;
    return ret;
}

/* ---- the disk's thread ---- */

static bool threads_add(struct engine *engine, const struct engine_op *op)
{
    struct threads *threads = threads_of(engine);
    struct job *job = threads->unused;

    if (!job) {
        return false;
    }
    threads->unused = job->next;
    job->op = *op;
    list_push(&threads->batch, job);
    threads->batch_count++;
    return true;
}

static size_t op_length(const struct engine_op *op)
{
    size_t length = 0;

    for (unsigned i = 0; i < op->iov_count; i++) {
        length += op->iov[i].iov_len;
    }
    return length;
}

/* Returns whether it is done: all of it was in the page cache. */
static bool try_now(struct threads *threads, struct job *job)
{
    const struct engine_op *op = &job->op;

    if (op->op != IO_READ || !threads->may_try) {
        return false;
    }
    job->result =
        preadv2(threads->file_fd, op->iov, (int)op->iov_count, (off_t)op->offset, RWF_NOWAIT);
    if (job->result < 0 && errno == EOPNOTSUPP) {
        threads->may_try = false;
    }
    return job->result >= 0 && (size_t)job->result == op_length(op);
}

/* Returns how many are left for the threads. */
static unsigned try_batch(struct threads *threads, struct job_list *rest)
{
    unsigned count = 0;

    while (threads->batch.first) {
        struct job *job = list_pop(&threads->batch);

        if (try_now(threads, job)) {
            list_push(&threads->taken, job);
        } else {
            list_push(rest, job);
            count++;
        }
    }
    return count;
}

static int threads_submit(struct engine *engine)
{
    struct threads *threads = threads_of(engine);
    unsigned submitted = threads->batch_count;
    struct job_list rest;
    unsigned left, idle;

    list_init(&rest);
    left = try_batch(threads, &rest);
    threads->batch_count = 0;
    if (left > 0) {
        pthread_mutex_lock(&threads->lock);
        list_move(&threads->waiting, &rest);
        idle = threads->idle;
        pthread_mutex_unlock(&threads->lock);
        for (unsigned i = 0; i < left && i < idle; i++) {
            pthread_cond_signal(&threads->has_work);
        }
        if (left > idle && threads->thread_count < THREADS) {
            (void)start_thread(threads); /* those that there are will do it, later */
        }
    }
    return (int)submitted;
}

static unsigned threads_reap(struct engine *engine, struct engine_event *events, unsigned max)
{
    struct threads *threads = threads_of(engine);
    unsigned count = 0;

    if (atomic_load_explicit(&threads->has_results, memory_order_relaxed)) {
        pthread_mutex_lock(&threads->lock);
        list_move(&threads->taken, &threads->results);
        atomic_store_explicit(&threads->has_results, false, memory_order_relaxed);
        pthread_mutex_unlock(&threads->lock);
    }
    while (threads->taken.first && count < max) {
        struct job *job = list_pop(&threads->taken);

        events[count++] = (struct engine_event){.data = job->op.data, .result = job->result};
        job->next = threads->unused;
        threads->unused = job;
    }
    return count;
}

static int threads_fd(const struct engine *engine)
{
    return containerof(engine, struct threads, engine)->event_fd;
}

static void init_threads(struct threads *threads, const struct engine_opts *opts)
{
    threads->engine.ops = &engine_threads_ops;
    threads->engine.max_inflight = JOBS;
    threads->engine.keeps_iov = true;
    threads->file_fd = opts->fd;
    threads->may_try = true;
    list_init(&threads->batch);
    list_init(&threads->taken);
    list_init(&threads->waiting);
    list_init(&threads->results);
    for (unsigned i = 0; i < JOBS; i++) {
        threads->job[i].next = threads->unused;
        threads->unused = &threads->job[i];
    }
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->has_work, NULL);
}

static void fini_threads(struct threads *threads)
{
    pthread_cond_destroy(&threads->has_work);
    pthread_mutex_destroy(&threads->lock);
    free(threads);
}

static int threads_open(struct engine **out, const struct engine_opts *opts, struct err *err)
{
    struct threads *threads = calloc(1, sizeof(*threads));
    int ret;

    if (!threads) {
        return err_set(err, -ENOMEM, "image %s", opts->path);
    }
    init_threads(threads, opts);
    threads->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (threads->event_fd < 0) {
        ret = err_set(err, -errno, "image %s: no eventfd", opts->path);
        goto fini;
    }
    ret = start_thread(threads);
    if (ret < 0) {
        err_set(err, ret, "image %s: no thread", opts->path);
        goto close_event_fd;
    }
    *out = &threads->engine;
    return 0;

close_event_fd:
    close(threads->event_fd);
fini:
    fini_threads(threads);
    return ret;
}

static void threads_close(struct engine *engine)
{
    struct threads *threads = threads_of(engine);

    pthread_mutex_lock(&threads->lock);
    threads->is_ending = true;
    pthread_cond_broadcast(&threads->has_work);
    pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->thread_count; i++) {
        pthread_join(threads->thread[i], NULL);
    }
    close(threads->event_fd);
    fini_threads(threads);
}

static void threads_use_cpus(struct engine *engine, const struct cpus *cpus)
{
    const struct threads *threads = threads_of(engine);

    for (unsigned i = 0; i < threads->thread_count; i++) {
        (void)cpus_use_for(cpus, threads->thread[i]); /* as the disk's thread, which was told */
    }
}

const struct engine_ops engine_threads_ops = {
    .name = "threads",
    .open = threads_open,
    .close = threads_close,
    .fd = threads_fd,
    .add = threads_add,
    .submit = threads_submit,
    .reap = threads_reap,
    .use_cpus = threads_use_cpus,
};
