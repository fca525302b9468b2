/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_way.h"

#include <string.h>

#include "core/base/cpus.h"
#include "core/device/lane_life.h"
#include "core/device/lane_thread.h"

/* What is to be done on the lane's thread. */
struct task {
    struct lane *lane;
    struct image *image;
    struct lane_way *way;
    const struct cpus *cpus;
    struct err *err;
    int ret;
};

static void run_task(struct task *task, void (*call)(void *arg))
{
    if (task->lane->index == 0) {
        call(task);
    } else {
        lane_thread_call(task->lane, call, task);
    }
}

static void run_open(void *arg)
{
    struct task *task = arg;

    task->ret = lane_attach(task->lane, task->image, task->err);
}

int lane_way_open(struct lane *lane, struct image *image, struct err *err)
{
    struct task task = {.lane = lane, .image = image, .err = err};

    run_task(&task, run_open);
    return task.ret;
}

static void run_close(void *arg)
{
    lane_detach(((struct task *)arg)->lane);
}

void lane_way_close(struct lane *lane)
{
    struct task task = {.lane = lane};

    if (lane->path) {
        run_task(&task, run_close);
    }
}

/* The lane uses the other. */
static void exchange_ways(struct lane *lane, struct lane_way *way)
{
    struct context *context = &lane->context;
    struct lane_way used = {.path = lane->path, .leaf_count = context->leaf_count};

    memcpy(used.leaf, context->leaf, sizeof(used.leaf));
    memcpy(used.watch, lane->watch, sizeof(used.watch));
    lane->path = way->path;
    context->leaf_count = way->leaf_count;
    memcpy(context->leaf, way->leaf, sizeof(used.leaf));
    memcpy(lane->watch, way->watch, sizeof(used.watch));
    *way = used;
}

static void run_change(void *arg)
{
    struct task *task = arg;

    *task->way = (struct lane_way){0};
    exchange_ways(task->lane, task->way);
    task->ret = lane_attach(task->lane, task->image, task->err);
    if (task->ret < 0) {
        exchange_ways(task->lane, task->way);
    }
}

int lane_way_change(struct lane *lane, struct image *image, struct lane_way *before,
                    struct err *err)
{
    struct task task = {.lane = lane, .image = image, .way = before, .err = err};

    run_task(&task, run_change);
    return task.ret;
}

static void run_keep(void *arg)
{
    struct task *task = arg;

    exchange_ways(task->lane, task->way);
    lane_detach(task->lane);
    exchange_ways(task->lane, task->way);
}

void lane_way_keep(struct lane *lane, struct lane_way *before)
{
    struct task task = {.lane = lane, .way = before};

    run_task(&task, run_keep);
}

static void run_go_back(void *arg)
{
    struct task *task = arg;

    lane_detach(task->lane);
    exchange_ways(task->lane, task->way);
}

void lane_way_go_back(struct lane *lane, struct lane_way *before)
{
    struct task task = {.lane = lane, .way = before};

    run_task(&task, run_go_back);
}

/* The workers of io_uring are its caller's. */
static void run_use_cpus(void *arg)
{
    struct task *task = arg;
    const struct context *context = &task->lane->context;

    task->ret = cpus_use(task->cpus, 0);
    for (unsigned i = 0; task->ret == 0 && i < context->leaf_count; i++) {
        struct path *leaf = context->leaf[i];

        if (leaf->ops->leaf->use_cpus) {
            leaf->ops->leaf->use_cpus(leaf, task->cpus);
        }
    }
}

int lane_way_use_cpus(struct lane *lane, const struct cpus *cpus)
{
    struct task task = {.lane = lane, .cpus = cpus};

    run_task(&task, run_use_cpus);
    return task.ret;
}
