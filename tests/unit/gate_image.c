/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/gate_image.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/block/path.h"
#include "tests/unit/unit.h"

struct gate_path {
    struct path path;
    struct gate_path *next;
    struct io_list kept;
    int fd;
};

static struct {
    _Atomic bool is_open;
    pthread_mutex_t lock; /* over the list */
    struct gate_path *paths;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct gate_path *of(struct path *path)
{
    return containerof(path, struct gate_path, path);
}

static int gate_node_open(struct node *node, const void *arg, struct err *err)
{
    node->facts.size = *(const uint64_t *)arg;
    node->facts.block_size = SECTOR_SIZE;
    node->facts.logical_block = SECTOR_SIZE;
    node->facts.physical_block = SECTOR_SIZE;
    return 0;
}

static int gate_attach(struct path *path, struct err *err)
{
    struct gate_path *own = of(path);

    own->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(own->fd >= 0);
    io_list_init(&own->kept);
    path->facts.max_inflight = 64;
    pthread_mutex_lock(&gate.lock);
    own->next = gate.paths;
    gate.paths = own;
    pthread_mutex_unlock(&gate.lock);
    return 0;
}

static void gate_detach(struct path *path)
{
    struct gate_path **at = &gate.paths;

    pthread_mutex_lock(&gate.lock);
    while (*at != of(path)) {
        at = &(*at)->next;
    }
    *at = of(path)->next;
    pthread_mutex_unlock(&gate.lock);
    close(of(path)->fd);
}

static int gate_fd(const struct path *path)
{
    return containerof(path, struct gate_path, path)->fd;
}

static void gate_start(struct path *path, struct io *io)
{
    io_list_append(&of(path)->kept, io);
}

static struct submitted gate_submit(struct path *path)
{
    return (struct submitted){0};
}

static unsigned gate_reap(struct path *path)
{
    unsigned count = 0;

    while (gate.is_open && of(path)->kept.first) {
        io_end(io_list_take(&of(path)->kept), 0);
        count++;
    }
    return count;
}

static bool gate_is_held_back(const struct path *path)
{
    return false;
}

static const struct leaf_ops leaf = {
    .fd = gate_fd,
    .submit = gate_submit,
    .reap = gate_reap,
    .is_held_back = gate_is_held_back,
};

static const struct node_ops ops = {
    .type = "gate",
    .node_bytes = sizeof(struct node),
    .path_bytes = sizeof(struct gate_path),
    .open = gate_node_open,
    .attach = gate_attach,
    .detach = gate_detach,
    .start = gate_start,
    .leaf = &leaf,
};

int gate_image_open(struct image **out, uint64_t size, struct err *err)
{
    struct node *root;
    int ret = node_open(&root, &ops, NULL, &size, err);

    return ret == 0 ? image_new(out, root) : ret;
}

void gate_open(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.is_open = true;
    for (struct gate_path *path = gate.paths; path; path = path->next) {
        assert_int_equal(eventfd_write(path->fd, 1), 0);
    }
    pthread_mutex_unlock(&gate.lock);
}

void gate_shut(void)
{
    gate.is_open = false;
}
