/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/block/node_fault.h"
#include "core/block/node_file.h"
#include "core/block/node_null.h"
#include "tests/unit/image_world.h"
#include "tests/unit/node_count.h"
#include "tests/unit/operation.h"

/* ---- another root ---- */

static int refuse(void *arg, struct err *err)
{
    return err_say(err, -EMFILE, "no way to it");
}

static struct node *open_filter(struct image_world *w)
{
    struct node *filter;

    assert_int_equal(
        node_open(&filter, &node_count_ops, node_get(w->way.image->root), NULL, &w->err), 0);
    return filter;
}

static struct node *open_null(uint64_t size)
{
    const struct image_opts opts = {.size = size, .max_inflight = 16};
    struct node *null;

    assert_int_equal(node_open(&null, &node_null_ops, NULL, &opts, NULL), 0);
    return null;
}

static uint64_t bytes_counted(const struct node *node)
{
    return containerof(node, struct node_count, node)->bytes;
}

static void write_one(struct image_world *w, uint64_t offset, uint8_t value)
{
    uint8_t data[512];

    memset(data, value, sizeof(data));
    assert_int_equal(operation_do(w->way.path, IO_WRITE, offset, data, sizeof(data)), 0);
}

static uint8_t read_one(struct image_world *w, uint64_t offset)
{
    uint8_t data[512] = {0};

    assert_int_equal(operation_do(w->way.path, IO_READ, offset, data, sizeof(data)), 0);
    return data[0];
}

static void filter_comes_and_goes_over_an_image_in_use(void **state)
{
    struct image_world *w = *state;
    struct node *file, *filter, *node;

    (void)image_world_open(w, CACHE_WRITEBACK);
    file = w->way.image->root;
    write_one(w, 0, 1);
    node = filter = open_filter(w);
    assert_int_equal(image_insert(w->way.image, &node, way_reopen, &w->way, &w->err), 0);
    assert_ptr_equal(w->way.image->root, filter);
    assert_ptr_equal(node, file);
    node_put(node);
    assert_int_equal(read_one(w, 0), 1);
    write_one(w, 512, 2);
    node = filter;
    assert_int_equal(image_remove(w->way.image, &node, way_reopen, &w->way, &w->err), 0);
    assert_ptr_equal(node, filter);
    assert_int_equal(bytes_counted(filter), 1024);
    assert_int_equal(filter->count, 1);
    node_put(filter);
    assert_ptr_equal(w->way.image->root, file);
    assert_int_equal(file->count, 2); /* the image, and a path */
    assert_int_equal(read_one(w, 512), 2);
}

static void other_node_takes_the_place_of_the_root(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->other, CACHE_WRITEBACK);
    struct node *node;

    image_world_make(w->other, IMAGE_BYTES);
    (void)image_world_open(w, CACHE_WRITEBACK);
    write_one(w, 0, 1);
    assert_int_equal(node_open(&node, &node_file_ops, NULL, &opts, &w->err), 0);
    assert_int_equal(image_swap(w->way.image, &node, way_reopen, &w->way, &w->err), 0);
    assert_int_equal(node->count, 1);
    node_put(node);
    assert_int_equal(read_one(w, 0), 0);
    assert_string_equal(image_facts(w->way.image)->path, w->other);
    assert_int_equal(image_world_try(w, &(struct image_opts){.type = "file",
                                                             .path = w->image,
                                                             .cache = CACHE_WRITEBACK,
                                                             .max_inflight = 16}),
                     0); /* its lock is released */
}

static void node_that_does_not_fit_is_refused(void **state)
{
    struct image_world *w = *state;
    struct node *null = open_null(IMAGE_BYTES + 512), *node = null;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);

    assert_int_equal(image_swap(w->way.image, &node, way_reopen, &w->way, &w->err), -EINVAL);
    assert_string_equal(w->err.text,
                        "it has 4194816 bytes, and the image in whose place it would be 4194304");
    null->facts.size = IMAGE_BYTES;
    null->facts.is_readonly = true;
    assert_int_equal(image_swap(w->way.image, &node, way_reopen, &w->way, &w->err), -EROFS);
    assert_ptr_equal(node, null);
    assert_int_equal(null->count, 1);
    assert_ptr_equal(w->way.path, path);
    node_put(null);
}

/* It was opened on a helper, and something else was quicker. */
static void filter_over_what_is_no_longer_the_root_is_refused(void **state)
{
    struct image_world *w = *state;
    struct node *first, *second, *node;

    (void)image_world_open(w, CACHE_WRITEBACK);
    first = open_filter(w);
    second = open_filter(w);
    node = first;
    assert_int_equal(image_insert(w->way.image, &node, way_reopen, &w->way, &w->err), 0);
    node_put(node);
    node = second;
    assert_int_equal(image_insert(w->way.image, &node, way_reopen, &w->way, &w->err), -ESTALE);
    assert_string_equal(w->err.text, "the image has been changed since the count was put over it");
    assert_ptr_equal(node, second);
    node_put(second);
    assert_ptr_equal(w->way.image->root, first);
}

static void only_a_filter_that_is_the_root_is_removed(void **state)
{
    struct image_world *w = *state;
    struct node *file, *filter, *node;

    (void)image_world_open(w, CACHE_WRITEBACK);
    node = file = w->way.image->root;
    assert_int_equal(image_remove(w->way.image, &node, way_reopen, &w->way, &w->err), -ENOENT);
    assert_string_equal(w->err.text, "the file is no layer over the others of the image");
    filter = node = open_filter(w);
    assert_int_equal(image_remove(w->way.image, &node, way_reopen, &w->way, &w->err), -ENOENT);
    assert_ptr_equal(w->way.image->root, file);
    node_put(filter);
}

static void without_another_way_all_is_as_it_was(void **state)
{
    struct image_world *w = *state;
    struct node *file, *filter, *node;

    (void)image_world_open(w, CACHE_WRITEBACK);
    file = w->way.image->root;
    filter = node = open_filter(w);
    assert_int_equal(image_insert(w->way.image, &node, refuse, &w->way, &w->err), -EMFILE);
    assert_string_equal(w->err.text, "no way to it");
    assert_ptr_equal(w->way.image->root, file);
    assert_int_equal(image_insert(w->way.image, &node, way_reopen, &w->way, &w->err), 0);
    node_put(node);
    node = filter;
    assert_int_equal(image_remove(w->way.image, &node, refuse, &w->way, &w->err), -EMFILE);
    assert_ptr_equal(w->way.image->root, filter);
    assert_int_equal(filter->count, 2); /* the image, and a path */
    assert_int_equal(file->count, 2);   /* the filter, and a path */
    write_one(w, 0, 3);
}

/* ---- what was lost ---- */

static const struct image_loss lost = {.code = -EIO, .op = IO_FLUSH, .time_s = 1764192600};

static int64_t flush(struct image_world *w)
{
    return operation_do(w->way.path, IO_FLUSH, 0, NULL, 0);
}

static struct node *open_other(struct image_world *w, enum cache_mode cache)
{
    struct image_opts opts = image_world_opts(w, w->other, cache);
    struct node *node;

    assert_int_equal(node_open(&node, &node_file_ops, NULL, &opts, &w->err), 0);
    return node;
}

/* The root of the world, which has lost something, is another from here on. */
static void swap_lost(struct image_world *w, enum cache_mode cache)
{
    struct node *node;

    image_world_make(w->other, IMAGE_BYTES);
    node = open_other(w, cache);
    assert_int_equal(node_inherit(w->way.image->root, &lost, &w->err), 0);
    assert_int_equal(image_lost(w->way.image).code, -EIO);
    assert_int_equal(image_swap(w->way.image, &node, way_reopen, &w->way, &w->err), 0);
    node_put(node);
}

static void root_that_has_lost_data_is_no_better_for_another_in_its_place(void **state)
{
    struct image_world *w = *state;

    (void)image_world_open(w, CACHE_WRITEBACK);
    swap_lost(w, CACHE_WRITEBACK);
    assert_int_equal(image_lost(w->way.image).code, -EIO);
    assert_int_equal(image_lost(w->way.image).time_s, lost.time_s);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(flush(w), -EIO);
    }
}

/* It would have no memory of its own for a flush that fails. */
static void direct_root_in_its_place_fails_flushes_as_well(void **state)
{
    struct image_world *w = *state;

    if (!image_world_has_direct(w)) {
        skip();
    }
    (void)image_world_open(w, CACHE_WRITEBACK);
    swap_lost(w, CACHE_NONE);
    assert_int_equal(image_lost(w->way.image).code, -EIO);
    assert_int_equal(flush(w), -EIO);
}

static void root_that_would_forget_what_was_lost_is_refused(void **state)
{
    struct image_world *w = *state;
    struct node *null = open_null(IMAGE_BYTES), *node = null;

    (void)image_world_open(w, CACHE_WRITEBACK);
    assert_int_equal(node_inherit(w->way.image->root, &lost, &w->err), 0);
    assert_int_equal(image_swap(w->way.image, &node, way_reopen, &w->way, &w->err), -EOPNOTSUPP);
    assert_string_equal(w->err.text,
                        "the image has lost something, and one of type null would forget that");
    assert_ptr_equal(node, null);
    assert_int_equal(flush(w), -EIO);
    node_put(null);
}

static void loss_of_any_layer_is_the_images(void **state)
{
    struct image_world *w = *state;
    struct node *below[2], *filter;

    (void)image_world_open(w, CACHE_WRITEBACK);
    image_world_make(w->other, IMAGE_BYTES);
    below[0] = node_get(w->way.image->root);
    below[1] = open_other(w, CACHE_WRITEBACK);
    assert_int_equal(node_inherit(below[1], &lost, &w->err), 0);
    assert_int_equal(node_open_over(&filter, &node_count_ops, below, 2, NULL, &w->err), 0);
    assert_int_equal(node_loss(below[0]).code, 0);
    assert_int_equal(node_loss(filter).code, -EIO);
    node_put(filter);
}

/* So its closing is not for the disk's thread. */
static void file_of_any_layer_is_the_images(void **state)
{
    struct image_world *w = *state;
    struct node *below[2] = {open_null(IMAGE_BYTES)}, *filter;

    image_world_make(w->other, IMAGE_BYTES);
    below[1] = open_other(w, CACHE_WRITEBACK);
    assert_int_equal(node_open_over(&filter, &node_count_ops, below, 2, NULL, &w->err), 0);
    assert_int_equal(filter->facts.fd, -1);
    assert_false(node_has_file(below[0]));
    assert_true(node_has_file(filter));
    node_put(filter);
}

/* ---- another size ---- */

static off_t file_size(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void file_has_another_size_first_and_its_facts_later(void **state)
{
    static const struct fault_opts no_faults = {.count = 0};
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    const uint64_t more = IMAGE_BYTES + 65536;
    struct node *root;

    assert_int_equal(way_open_over(&w->way, &opts, &node_fault_ops, &no_faults, &w->err), 0);
    root = w->way.image->root;
    assert_int_equal(node_resize(root, more, &w->err), 0);
    assert_int_equal(file_size(w->image), more);
    assert_int_equal(root->facts.size, IMAGE_BYTES);
    assert_int_equal(node_set_size(root, more, &w->err), 0);
    assert_int_equal(root->facts.size, more);
    assert_int_equal(root->child[0]->facts.size, more);
    write_one(w, IMAGE_BYTES, 5);
    assert_int_equal(read_one(w, IMAGE_BYTES), 5);
    assert_int_equal(node_set_size(root, 65536, &w->err), 0);
    assert_int_equal(node_resize(root, 65536, &w->err), 0);
    assert_int_equal(file_size(w->image), 65536);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    struct image_world *w = *state;
    struct node *null = open_null(1 << 20);
    struct node *file;

    (void)image_world_open(w, CACHE_WRITEBACK);
    file = w->way.image->root;
    assert_int_equal(node_resize(file, IMAGE_BYTES + 100, &w->err), -EINVAL);
    assert_string_equal(w->err.text, "4194404 bytes are no number of whole blocks of 512");
    assert_int_equal(node_set_size(file, IMAGE_BYTES + 100, &w->err), -EINVAL);
    assert_int_equal(node_resize(file, 0, &w->err), -EINVAL);
    assert_int_equal(node_resize(file, 1ull << 63, &w->err), -EFBIG);
    assert_int_equal(node_resize(null, 2 << 20, &w->err), -EOPNOTSUPP);
    assert_string_equal(w->err.text, "an image of type null keeps the size that it has");
    assert_int_equal(node_set_size(null, 2 << 20, &w->err), -EOPNOTSUPP);
    assert_int_equal(null->facts.size, 1 << 20);
    assert_int_equal(file_size(w->image), IMAGE_BYTES);
    node_put(null);
}

static void what_takes_512_bytes_has_no_layer_that_emulates_them(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    opts.emulates_512 = true;
    (void)image_world_open_with(w, &opts);
    assert_string_equal(w->way.image->root->ops->type, "file");
    assert_int_equal(image_facts(w->way.image)->block_size, 512);
    assert_int_equal(image_facts(w->way.image)->patched_block, 0);
}

static void image_that_is_only_read_keeps_its_size(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    opts.is_readonly = true;
    (void)image_world_open_with(w, &opts);
    assert_int_equal(node_resize(w->way.image->root, IMAGE_BYTES * 2, &w->err), -EROFS);
    assert_non_null(strstr(w->err.text, "is open for reading only"));
    assert_int_equal(node_resize(w->way.image->root, IMAGE_BYTES, &w->err), 0);
    assert_int_equal(truncate(w->image, IMAGE_BYTES * 2), 0); /* by somebody else */
    assert_int_equal(node_resize(w->way.image->root, IMAGE_BYTES * 2, &w->err), 0);
}

/* Whoever has given it that size. */
static void size_of_a_file_is_what_it_has_by_now(void **state)
{
    static const struct fault_opts no_faults = {.count = 0};
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct node *null = open_null(1 << 20);
    struct node_extent extent;

    assert_int_equal(way_open_over(&w->way, &opts, &node_fault_ops, &no_faults, &w->err), 0);
    assert_int_equal(truncate(w->image, IMAGE_BYTES + 100), 0);
    assert_int_equal(node_measure(w->way.image->root, &extent, &w->err), 0);
    assert_int_equal(extent.bytes, IMAGE_BYTES + 100);
    assert_false(extent.is_fixed);
    assert_int_equal(w->way.image->root->facts.size, IMAGE_BYTES);
    assert_int_equal(node_measure(null, &extent, &w->err), 0);
    assert_int_equal(extent.bytes, 1 << 20);
    assert_true(extent.is_fixed);
    node_put(null);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(filter_comes_and_goes_over_an_image_in_use),
        in_world(other_node_takes_the_place_of_the_root),
        in_world(node_that_does_not_fit_is_refused),
        in_world(filter_over_what_is_no_longer_the_root_is_refused),
        in_world(only_a_filter_that_is_the_root_is_removed),
        in_world(without_another_way_all_is_as_it_was),
        in_world(root_that_has_lost_data_is_no_better_for_another_in_its_place),
        in_world(direct_root_in_its_place_fails_flushes_as_well),
        in_world(root_that_would_forget_what_was_lost_is_refused),
        in_world(loss_of_any_layer_is_the_images),
        in_world(file_of_any_layer_is_the_images),
        in_world(file_has_another_size_first_and_its_facts_later),
        in_world(sizes_that_cannot_be_are_refused),
        in_world(what_takes_512_bytes_has_no_layer_that_emulates_them),
        in_world(image_that_is_only_read_keeps_its_size),
        in_world(size_of_a_file_is_what_it_has_by_now),
    };

    return unit_run(tests);
}
