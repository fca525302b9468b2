/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/node_fault.h"

#include "core/block/delay.h"
#include "core/block/path.h"

struct node_fault {
    struct node node;
    struct fault_rule rule[FAULT_RULES];
    unsigned rule_count;
};

struct path_fault {
    struct path path;
    struct delay delay;
    unsigned suited[FAULT_RULES]; /* operations that each rule was for, of this path */
};

static struct path_fault *path_fault_of(struct path *path)
{
    return containerof(path, struct path_fault, path);
}

static const struct node_fault *node_fault_of(const struct path *path)
{
    return containerof(path->node, struct node_fault, node);
}

static int fault_open(struct node *node, const void *arg, struct err *err)
{
    struct node_fault *fault = containerof(node, struct node_fault, node);
    const struct fault_opts *opts = arg;

    assert(opts->count <= FAULT_RULES);
    for (unsigned i = 0; i < opts->count; i++) {
        fault->rule[i] = opts->rules[i];
    }
    fault->rule_count = opts->count;
    return 0;
}

static int fault_attach(struct path *path, struct err *err)
{
    int ret = delay_open(&path_fault_of(path)->delay);

    return ret < 0 ? err_set(err, ret, "faults: no timer") : 0;
}

static void fault_detach(struct path *path)
{
    delay_close(&path_fault_of(path)->delay);
}

static bool rule_suits(const struct fault_rule *rule, const struct io *io)
{
    if (!(rule->ops & 1u << io->op)) {
        return false;
    }
    return rule->length == 0 || io->op == IO_FLUSH ||
           (io->offset < rule->offset + rule->length && io->offset + io->length > rule->offset);
}

/* Is it the rule's turn, of those that suit it? */
static bool rule_counts(struct path_fault *fault, unsigned index, unsigned every)
{
    return fault->suited[index]++ % (every ? every : 1) == 0;
}

static const struct fault_rule *find_rule(struct path *path, const struct io *io)
{
    const struct node_fault *node = node_fault_of(path);

    for (unsigned i = 0; i < node->rule_count; i++) {
        if (rule_suits(&node->rule[i], io) &&
            rule_counts(path_fault_of(path), i, node->rule[i].every)) {
            return &node->rule[i];
        }
    }
    return NULL;
}

/* What is to go on is not the child's yet, so its frame is ours. */
static void fault_start(struct path *path, struct io *io)
{
    const struct fault_rule *rule = find_rule(path, io);

    if (rule) {
        delay_add(&path_fault_of(path)->delay, io, rule->delay_ns ? now_ns() + rule->delay_ns : 0,
                  rule->error);
    } else {
        path_start(path->child[0], io);
    }
}

static int fault_fd(const struct path *path)
{
    return containerof(path, struct path_fault, path)->delay.timer_fd;
}

static struct submitted fault_submit(struct path *path)
{
    delay_arm(&path_fault_of(path)->delay);
    return (struct submitted){0};
}

static unsigned fault_reap(struct path *path)
{
    struct delay *delay = &path_fault_of(path)->delay;
    uint64_t now = delay->waiting.first ? now_ns() : 0;
    unsigned count = 0;
    struct io *io;

    while ((io = delay_take(delay, now))) {
        int64_t result = delayed_of(io)->result;

        if (result < 0) {
            io_end(io, result);
        } else {
            path_start(path->child[0], io);
        }
        count++;
    }
    delay_arm(delay);
    return count;
}

/* What it lets go on is held back by the child, if anybody. */
static bool fault_is_held_back(const struct path *path)
{
    return !containerof(path, struct path_fault, path)->delay.is_armed;
}

static const struct leaf_ops fault_leaf_ops = {
    .fd = fault_fd,
    .submit = fault_submit,
    .reap = fault_reap,
    .is_held_back = fault_is_held_back,
};

const struct node_ops node_fault_ops = {
    .type = "fault",
    .node_bytes = sizeof(struct node_fault),
    .path_bytes = sizeof(struct path_fault),
    .open = fault_open,
    .attach = fault_attach,
    .detach = fault_detach,
    .start = fault_start,
    .leaf = &fault_leaf_ops,
};
