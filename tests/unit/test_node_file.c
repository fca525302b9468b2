/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/block/bounce.h"
#include "core/block/image_lock.h"
#include "tests/unit/image_world.h"
#include "tests/unit/lock_holder.h"
#include "tests/unit/operation.h"

/* Write through the image, look at the file itself. */
static void round_trip(struct image_world *w, enum cache_mode cache)
{
    struct path *path = image_world_open(w, cache);
    uint8_t *out = aligned_buffer(8 * BLOCK);
    uint8_t *in = aligned_buffer(8 * BLOCK);
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    fill_bytes(out, 8 * BLOCK, 1);
    assert_int_equal(operation_do(path, IO_WRITE, 16 * BLOCK, out, 8 * BLOCK), 0);
    assert_int_equal(pread(fd, in, 8 * BLOCK, 16 * BLOCK), 8 * BLOCK);
    assert_memory_equal(in, out, 8 * BLOCK);
    memset(in, 0, 8 * BLOCK);
    assert_int_equal(operation_do(path, IO_READ, 16 * BLOCK, in, 8 * BLOCK), 0);
    assert_memory_equal(in, out, 8 * BLOCK);
    assert_int_equal(operation_do(path, IO_FLUSH, 0, NULL, 0), 0);
    close(fd);
    free(in);
    free(out);
}

static void direct_io_writes_and_reads_back(void **state)
{
    round_trip(*state, CACHE_NONE);
}

static void buffered_io_writes_and_reads_back(void **state)
{
    round_trip(*state, CACHE_WRITEBACK);
}

static void facts_are_those_of_the_file(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);

    assert_int_equal(path->node->facts.size, IMAGE_BYTES);
    assert_int_equal(path->node->facts.block_size, 512);
    assert_true(path->node->facts.physical_block >= path->node->facts.block_size);
    assert_true(path->facts.max_inflight >= 16);
}

static void direct_io_states_the_alignment_it_needs(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_NONE);
    uint8_t *data = aligned_buffer(65536);

    assert_true(is_power_of_2(path->node->facts.block_size));
    assert_true(path->node->facts.block_size >= 512);
    assert_int_equal(operation_do(path, IO_READ, path->node->facts.block_size, data,
                                  path->node->facts.block_size),
                     0);
    free(data);
}

static void holes_read_as_zeroes(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    uint8_t data[BLOCK];

    memset(data, 0xff, sizeof(data));
    assert_int_equal(operation_do(path, IO_READ, 0, data, sizeof(data)), 0);
    for (unsigned i = 0; i < sizeof(data); i++) {
        assert_int_equal(data[i], 0);
    }
}

static void scattered_buffers_are_filled_in_order(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    uint8_t out[2048], in[2048] = {0};
    struct operation op;

    fill_bytes(out, sizeof(out), 2);
    assert_int_equal(operation_do(path, IO_WRITE, 512, out, sizeof(out)), 0);
    operation_init(&op, IO_READ, 512, in, 100);
    operation_add(&op, in + 100, 1);
    operation_add(&op, in + 101, 1947);
    operation_queue(&op, path);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
    assert_memory_equal(in, out, sizeof(in));
}

/* Pieces of memory of one request: more than one call of the system takes. */
#define MANY 1279u

/* Of `unit` bytes each, but for the last, which makes the sum whole blocks. */
static void run_many(struct path *path, enum io_op kind, uint8_t *data, size_t unit)
{
    static struct iovec iov[MANY];
    struct operation op;

    for (unsigned i = 0; i < MANY; i++) {
        iov[i] = (struct iovec){.iov_base = data + i * unit, .iov_len = unit};
    }
    operation_init(&op, kind, BLOCK, NULL, 0);
    op.io.length = round_up(MANY * unit, BLOCK);
    iov[MANY - 1].iov_len += op.io.length - MANY * unit;
    op.io.iov = iov;
    op.io.iov_count = MANY;
    op.io.flags = kind == IO_WRITE ? IO_FUA : 0;
    operation_queue(&op, path);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
}

/* `unit` 0: the image's own block. */
static void many_pieces(struct image_world *w, enum cache_mode cache, size_t unit)
{
    struct path *path;
    uint8_t *out, *in;
    size_t len;

    assert_int_equal(truncate(w->image, 8 << 20), 0);
    path = image_world_open(w, cache);
    unit = unit ? unit : path->node->facts.block_size;
    len = round_up(MANY * unit, BLOCK);
    out = aligned_buffer(len);
    in = aligned_buffer(len);
    fill_bytes(out, len, 5);
    run_many(path, IO_WRITE, out, unit);
    run_many(path, IO_READ, in, unit);
    assert_memory_equal(in, out, len);
    free(in);
    free(out);
}

static void more_pieces_than_one_call_takes_move_all(void **state)
{
    many_pieces(*state, CACHE_WRITEBACK, 509);
}

static void more_pieces_than_one_call_takes_move_all_directly(void **state)
{
    many_pieces(*state, CACHE_NONE, 0);
}

static void more_pieces_than_one_call_takes_go_through_the_bounce_pool(void **state)
{
    many_pieces(*state, CACHE_NONE, 509);
}

/* ---- the bounce pool ---- */

static void unaligned_buffers_work_with_direct_io(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_NONE);
    uint8_t *out = aligned_buffer(4 * BLOCK);
    uint8_t *in = aligned_buffer(4 * BLOCK);

    fill_bytes(out, 4 * BLOCK, 3);
    assert_int_equal(operation_do(path, IO_WRITE, 0, out + 1, 2 * BLOCK), 0);
    assert_int_equal(operation_do(path, IO_READ, 0, in + 3, 2 * BLOCK), 0);
    assert_memory_equal(in + 3, out + 1, 2 * BLOCK);
    assert_int_equal(in[2], 0xcc);
    assert_int_equal(in[3 + 2 * BLOCK], 0xcc);
    free(in);
    free(out);
}

static void crooked_cuts_work_with_direct_io(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_NONE);
    uint8_t *out = aligned_buffer(4 * BLOCK);
    uint8_t *in = aligned_buffer(4 * BLOCK);
    struct operation op;

    fill_bytes(out, 4 * BLOCK, 4);
    operation_init(&op, IO_WRITE, BLOCK, out, 1);
    operation_add(&op, out + 1, 4000);
    operation_add(&op, out + 4001, BLOCK - 4001);
    operation_queue(&op, path);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
    operation_init(&op, IO_READ, BLOCK, in, 513);
    operation_add(&op, in + 513, BLOCK - 513);
    operation_queue(&op, path);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
    assert_memory_equal(in, out, BLOCK);
    free(in);
    free(out);
}

static void bounced_request_may_be_larger_than_a_buffer(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_NONE);
    size_t len = 5 * BOUNCE_BYTES + BLOCK;
    uint8_t *out = aligned_buffer(len + BLOCK);
    uint8_t *in = aligned_buffer(len + BLOCK);

    fill_bytes(out, len + BLOCK, 5);
    assert_int_equal(operation_do(path, IO_WRITE, BLOCK, out + 1, len), 0);
    assert_int_equal(operation_do(path, IO_READ, BLOCK, in + 2, len), 0);
    assert_memory_equal(in + 2, out + 1, len);
    free(in);
    free(out);
}

static void more_bounced_requests_than_buffers_all_end(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_NONE);
    static struct operation ops[4 * BOUNCE_BUFFERS];
    uint8_t *data = aligned_buffer(ARRAY_SIZE(ops) * BLOCK + BLOCK);
    uint8_t block[BLOCK] = {0};
    int fd = open(w->image, O_RDONLY | O_CLOEXEC);

    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        memset(data + 1 + i * BLOCK, (int)i + 1, BLOCK);
        operation_init(&ops[i], IO_WRITE, i * BLOCK, data + 1 + i * BLOCK, BLOCK);
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        assert_int_equal(ops[i].io.result, 0);
        assert_int_equal(pread(fd, block, BLOCK, i * BLOCK), BLOCK);
        assert_int_equal(block[0], i + 1);
        assert_int_equal(block[BLOCK - 1], i + 1);
    }
    close(fd);
    free(data);
}

/* ---- many at once ---- */

static void batch_is_one_system_call(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    static struct operation ops[32];
    static uint8_t data[512];
    struct submitted submitted;

    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_init(&ops[i], IO_READ, i * 1024, data, 512);
        operation_queue(&ops[i], path);
    }
    submitted = context_submit(path->context);
    assert_int_equal(submitted.operations, ARRAY_SIZE(ops));
    assert_int_equal(submitted.calls, 1);
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    submitted = context_submit(path->context);
    assert_int_equal(submitted.calls, 0);
}

static void more_requests_than_the_engine_takes_all_end(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    static struct operation ops[500];
    static uint8_t data[ARRAY_SIZE(ops)][512];

    opts.max_inflight = 1;
    image_world_open_with(w, &opts);
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        memset(data[i], (int)i, 512);
        operation_init(&ops[i], IO_WRITE, i * 1024, data[i], 512);
        operation_queue(&ops[i], w->way.path);
    }
    context_submit(&w->way.context);
    assert_true(context_is_held_back(&w->way.context));
    assert_true(operations_run(w->way.path, ops, ARRAY_SIZE(ops)));
    assert_false(context_is_held_back(&w->way.context));
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        assert_int_equal(ops[i].io.result, 0);
    }
}

static void flushes_and_writes_mix(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    struct operation ops[20];
    static uint8_t data[512];

    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        operation_init(&ops[i], i % 2 ? IO_FLUSH : IO_WRITE, i * 512, data, i % 2 ? 0 : 512);
        ops[i].io.flags = i % 4 == 0 ? IO_FUA : 0;
        operation_queue(&ops[i], path);
    }
    assert_true(operations_run(path, ops, ARRAY_SIZE(ops)));
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        assert_int_equal(ops[i].io.result, 0);
    }
}

static void fua_write_with_direct_io_succeeds(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_DIRECTSYNC);
    uint8_t *data = aligned_buffer(BLOCK);
    struct operation op;

    operation_init(&op, IO_WRITE, 0, data, BLOCK);
    op.io.flags = IO_FUA;
    operation_queue(&op, path);
    assert_true(operations_run(path, &op, 1));
    assert_int_equal(op.io.result, 0);
    free(data);
}

/* ---- opening ---- */

static void create_makes_a_sparse_file_of_the_size(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->other, CACHE_WRITEBACK);
    struct stat st;

    opts.create = true;
    opts.size = 1ull << 32;
    assert_int_equal(image_world_try(w, &opts), 0);
    assert_int_equal(stat(w->other, &st), 0);
    assert_int_equal(st.st_size, 1ull << 32);
    assert_true(st.st_blocks < 1024);
    assert_int_equal(st.st_mode & 077, 0);
}

static void create_refuses_what_exists_and_leaves_it(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    struct stat st;

    opts.create = true;
    opts.size = 1 << 20;
    assert_int_equal(image_world_try(w, &opts), -EEXIST);
    assert_int_equal(stat(w->image, &st), 0);
    assert_int_equal(st.st_size, IMAGE_BYTES);
}

static void failed_create_leaves_no_file(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->other, CACHE_WRITEBACK);

    opts.create = true;
    opts.size = INT64_MAX - 511; /* more than a file system can hold */
    assert_int_not_equal(image_world_try(w, &opts), 0);
    assert_int_equal(access(w->other, F_OK), -1);
}

static void put_bytes(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

/* Looked at only where that is asked for, and before anything else that could be wrong with it. */
static void image_of_another_format_is_refused_by_name(void **state)
{
    static const enum cache_mode modes[] = {CACHE_NONE, CACHE_WRITEBACK};
    static const off_t sizes[] = {IMAGE_BYTES, IMAGE_BYTES + 100, 513, 5};
    struct image_world *w = *state;

    put_bytes(w->image, "QFI\xfb\0\0\0\3", 8);
    for (unsigned i = 0; i < 4 * ARRAY_SIZE(sizes); i++) {
        struct image_opts opts = image_world_opts(w, w->image, modes[i % 2]);

        if (cache_is_direct(opts.cache) && !image_world_has_direct(w)) {
            continue;
        }
        opts.is_readonly = i / 2 % 2;
        opts.probe = true;
        assert_return_code(truncate(w->image, sizes[i / 4]), errno);
        assert_int_equal(image_world_try(w, &opts), -EMEDIUMTYPE);
        assert_non_null(strstr(w->err.text, "is in qcow2 format"));
        assert_non_null(strstr(w->err.text, "qemu-img convert -O raw"));
        assert_non_null(strstr(w->err.text, "--format raw"));
        opts.probe = false;
        assert_int_equal(image_world_try(w, &opts), 0);
    }
}

static void raw_image_of_any_size_is_looked_at_and_opened(void **state)
{
    static const off_t sizes[] = {0, 1, 511, 512, 513, 4096, 4607, 4608, IMAGE_BYTES + 511};
    struct image_world *w = *state;

    for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        struct image_opts opts =
            image_world_opts(w, w->image, i % 2 == 0 ? CACHE_NONE : CACHE_WRITEBACK);

        if (cache_is_direct(opts.cache) && !image_world_has_direct(w)) {
            continue;
        }
        opts.probe = true;
        assert_return_code(truncate(w->image, sizes[i / 2]), errno);
        assert_int_equal(image_world_try(w, &opts), 0);
    }
}

static void image_with_a_luks_header_is_opened_with_a_note(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    put_bytes(w->image, "LUKS\xba\xbe\0\2", 8);
    opts.probe = true;
    assert_non_null(strstr(image_world_open_with(w, &opts)->node->facts.note, "LUKS"));
    way_close(&w->way);
    opts.probe = false;
    assert_null(image_world_open_with(w, &opts)->node->facts.note);
}

static void missing_image_is_named(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->other, CACHE_WRITEBACK);

    opts.is_new = true;
    assert_int_equal(image_world_try(w, &opts), -ENOENT);
    assert_non_null(strstr(w->err.text, w->other));
    assert_non_null(strstr(w->err.text, "use --create"));
}

/* Its command has no such options. */
static void image_of_an_old_disk_is_missed_with_what_start_can_do(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->other, CACHE_WRITEBACK);

    assert_int_equal(image_world_try(w, &opts), -ENOENT);
    assert_null(strstr(w->err.text, "--"));
    assert_non_null(strstr(w->err.text, "put it back, or a symbolic link to where it is now"));
}

static void sealed_image_of_an_old_disk_is_refused_with_what_can_be_done(void **state)
{
    struct image_world *w = *state;
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct image_opts opts;
    char path[64];

    assert_true(fd >= 0 && ftruncate(fd, IMAGE_BYTES) == 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    opts = image_world_opts(w, path, CACHE_WRITEBACK);
    assert_int_equal(image_world_try(w, &opts), -EPERM);
    assert_non_null(strstr(w->err.text, "or remove the disk, and add it again with --readonly"));
    opts.is_new = true;
    assert_int_equal(image_world_try(w, &opts), -EPERM);
    assert_non_null(strstr(w->err.text, "; use --readonly"));
    close(fd);
}

static void directory_is_refused(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->dir, CACHE_WRITEBACK);

    assert_int_equal(image_world_try(w, &opts), -EISDIR);
    assert_non_null(strstr(w->err.text, "directory"));
}

/* Opening one for reading would block until somebody writes. */
static void fifo_is_refused_without_waiting(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->other, CACHE_WRITEBACK);

    assert_int_equal(mkfifo(w->other, 0600), 0);
    opts.is_readonly = true;
    assert_int_equal(image_world_try(w, &opts), -EINVAL);
    assert_non_null(strstr(w->err.text, "FIFO"));
}

static void character_device_is_refused(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, "/dev/null", CACHE_WRITEBACK);

    assert_int_equal(image_world_try(w, &opts), -EINVAL);
}

/* It can be opened for writing, and each write fails. */
static void sealed_file_is_served_read_only_alone(void **state)
{
    struct image_world *w = *state;
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct image_opts opts = image_world_opts(w, w->other, CACHE_WRITEBACK);
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_return_code(symlink(path, w->other), errno);
    assert_return_code(ftruncate(fd, IMAGE_BYTES), errno);
    assert_int_equal(image_world_try(w, &opts), 0);
    assert_return_code(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), errno);
    assert_int_equal(image_world_try(w, &opts), -EPERM);
    assert_non_null(strstr(w->err.text, "cannot be written"));
    opts.is_readonly = true;
    assert_int_equal(image_world_try(w, &opts), 0);
    close(fd);
}

static void unreadable_image_is_refused(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    uid_t uid = geteuid();
    int ret;

    assert_int_equal(chmod(w->image, 0), 0);
    if (uid == 0) {
        assert_int_equal(chmod(w->dir, 0755), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    ret = image_world_try(w, &opts);
    if (uid == 0) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(ret, -EACCES);
}

static void readonly_image_refuses_to_be_written(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);
    uint8_t data[512] = {0};

    opts.is_readonly = true;
    image_world_open_with(w, &opts);
    assert_int_equal(operation_do(w->way.path, IO_READ, 0, data, 512), 0);
    assert_true(operation_do(w->way.path, IO_WRITE, 0, data, 512) < 0);
}

static void tmpfs_works_or_says_what_to_do(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = image_world_opts(w, w->image, CACHE_NONE);
    int ret;

    opts.is_new = true;
    ret = image_world_try(w, &opts);
    if (ret != 0) {
        assert_int_equal(ret, -EINVAL);
        assert_non_null(strstr(w->err.text, "O_DIRECT"));
        assert_non_null(strstr(w->err.text, "--cache writeback"));
    }
    round_trip(w, CACHE_WRITEBACK);
}

/* ---- a world that changes under us ---- */

static void shrunk_image_fails(struct image_world *w, enum cache_mode cache)
{
    struct path *path = image_world_open(w, cache);
    uint8_t *data = aligned_buffer(2 * BLOCK);

    assert_int_equal(truncate(w->image, IMAGE_BYTES / 2), 0);
    assert_true(operation_do(path, IO_READ, IMAGE_BYTES / 2, data, BLOCK) < 0);
    assert_true(operation_do(path, IO_READ, IMAGE_BYTES - BLOCK, data, BLOCK) < 0);
    assert_true(operation_do(path, IO_READ, IMAGE_BYTES / 2 - BLOCK, data, 2 * BLOCK) < 0);
    assert_int_equal(operation_do(path, IO_READ, IMAGE_BYTES / 2 - BLOCK, data, BLOCK), 0);
    free(data);
}

static void read_of_a_shrunk_image_fails_with_direct_io(void **state)
{
    shrunk_image_fails(*state, CACHE_NONE);
}

static void read_of_a_shrunk_image_fails_buffered(void **state)
{
    shrunk_image_fails(*state, CACHE_WRITEBACK);
}

static void bounced_read_of_a_shrunk_image_fails(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_NONE);
    uint8_t *data = aligned_buffer(3 * BLOCK);

    assert_int_equal(truncate(w->image, IMAGE_BYTES / 2), 0);
    assert_true(operation_do(path, IO_READ, IMAGE_BYTES / 2, data + 1, BLOCK) < 0);
    assert_true(operation_do(path, IO_READ, IMAGE_BYTES / 2 - BLOCK, data + 1, 2 * BLOCK) < 0);
    free(data);
}

static void removed_image_goes_on(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    uint8_t data[512] = {0};

    assert_int_equal(unlink(w->image), 0);
    assert_int_equal(operation_do(path, IO_WRITE, 0, data, 512), 0);
}

static void write_past_the_file_size_limit_fails(void **state)
{
    struct image_world *w = *state;
    struct path *path = image_world_open(w, CACHE_WRITEBACK);
    struct rlimit old, limit;
    uint8_t data[512] = {0};
    int64_t result;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    result = operation_do(path, IO_WRITE, 2 << 20, data, 512);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -EFBIG);
    assert_int_equal(operation_do(path, IO_WRITE, 0, data, 512), 0);
}

/* A tmpfs of 1 MiB under an image of 4: needs the right to mount. */
static void full_file_system_fails_writes_and_nothing_else(void **state)
{
    struct image_world *w = *state;
    static uint8_t data[1 << 16];
    int64_t result = 0;

    assert_int_equal(unlink(w->image), 0);
    if (mount("none", w->dir, "tmpfs", 0, "size=1m") < 0) {
        image_world_make(w->image, IMAGE_BYTES);
        skip();
    }
    image_world_make(w->image, IMAGE_BYTES);
    memset(data, 1, sizeof(data));
    image_world_open(w, CACHE_WRITEBACK);
    for (unsigned i = 0; i < 32 && result == 0; i++) {
        result = operation_do(w->way.path, IO_WRITE, i * sizeof(data), data, sizeof(data));
    }
    int64_t read_result = operation_do(w->way.path, IO_READ, 0, data, sizeof(data));

    way_close(&w->way);
    unlink(w->image);
    assert_int_equal(umount(w->dir), 0);
    assert_int_equal(result, -ENOSPC);
    assert_int_equal(read_result, 0);
    assert_int_equal(data[0], 1);
}

/* ---- locks ---- */

static int try_image(struct image_world *w, bool is_readonly)
{
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    opts.is_readonly = is_readonly;
    return image_world_try(w, &opts);
}

static void hold_image(struct image_world *w, bool is_readonly)
{
    struct image_opts opts = image_world_opts(w, w->image, CACHE_WRITEBACK);

    opts.is_readonly = is_readonly;
    (void)image_world_open_with(w, &opts);
}

static void second_writer_is_refused(void **state)
{
    struct image_world *w = *state;

    hold_image(w, false);
    assert_int_equal(try_image(w, false), -EBUSY);
    assert_non_null(strstr(w->err.text, "in use"));
}

static void reader_beside_a_writer_is_refused(void **state)
{
    struct image_world *w = *state;

    hold_image(w, false);
    assert_int_equal(try_image(w, true), -EBUSY);
}

static void writer_beside_a_reader_is_refused(void **state)
{
    struct image_world *w = *state;

    hold_image(w, true);
    assert_int_equal(try_image(w, false), -EBUSY);
}

/* As a thread of io_uring does that has given its last result. */
static void writer_that_is_just_letting_go_is_waited_for(void **state)
{
    struct image_world *w = *state;
    const struct image_use use = {.image = w->image};
    int fd = open(w->image, O_RDWR | O_CLOEXEC);

    assert_int_equal(image_lock(fd, w->image, &use, &w->err), 0);
    lock_holder_begin(fd);
    assert_int_equal(try_image(w, false), 0);
    assert_true(lock_holder_has_let_go());
}

static void readers_share_an_image(void **state)
{
    struct image_world *w = *state;

    hold_image(w, true);
    assert_int_equal(try_image(w, true), 0);
}

static void refused_try_leaves_the_lock_in_place(void **state)
{
    struct image_world *w = *state;

    hold_image(w, false);
    assert_int_equal(try_image(w, false), -EBUSY);
    assert_int_equal(try_image(w, false), -EBUSY);
}

static void closed_image_is_free_again(void **state)
{
    struct image_world *w = *state;

    hold_image(w, false);
    way_close(&w->way);
    assert_int_equal(try_image(w, false), 0);
}

static bool is_installed(const char *program)
{
    char command[128];

    snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
    return system(command) == 0;
}

/* Run qemu-io on the image; true when it could open it. */
static bool qemu_io_opens(const struct image_world *w, const char *options)
{
    char command[256];

    snprintf(command, sizeof(command), "qemu-io -f raw %s -c 'read 0 512' %s >/dev/null 2>&1",
             options, w->image);
    return system(command) == 0;
}

static void qemu_is_kept_off_an_image_that_we_write(void **state)
{
    struct image_world *w = *state;

    if (!is_installed("qemu-io")) {
        skip();
    }
    assert_true(qemu_io_opens(w, ""));
    hold_image(w, false);
    assert_false(qemu_io_opens(w, ""));
    assert_true(qemu_io_opens(w, "-r -U"));
}

static void qemu_may_read_what_we_read(void **state)
{
    struct image_world *w = *state;

    if (!is_installed("qemu-io")) {
        skip();
    }
    hold_image(w, true);
    assert_true(qemu_io_opens(w, "-r"));
    assert_false(qemu_io_opens(w, ""));
}

/*
 * Open the image while a program of QEMU's holds it, which it does when it has answered
 * `input` with a line that contains `answer`.
 */
static int open_beside(struct image_world *w, const char *program, const char *input,
                       const char *answer, bool is_readonly)
{
    char command[256];
    char line[256];
    int to[2], from[2], ret = -ECHILD;
    pid_t pid;
    FILE *answers;

    snprintf(command, sizeof(command), "exec %s%s", program, w->image);
    assert(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    pid = fork();
    if (pid == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    if (write(to[1], input, strlen(input)) < 0) {
        ret = -EPIPE;
    }
    answers = fdopen(from[0], "r");
    while (fgets(line, sizeof(line), answers)) {
        if (strstr(line, answer)) {
            ret = try_image(w, is_readonly);
            break;
        }
    }
    close(to[1]);
    kill(pid, SIGTERM);
    fclose(answers);
    waitpid(pid, NULL, 0);
    return ret;
}

static int beside_qemu_io(struct image_world *w, const char *program, bool is_readonly)
{
    return open_beside(w, program, "read 0 512\n", "512/512", is_readonly);
}

static void we_are_kept_off_an_image_that_qemu_io_writes(void **state)
{
    struct image_world *w = *state;

    if (!is_installed("qemu-io")) {
        skip();
    }
    assert_int_equal(beside_qemu_io(w, "qemu-io -f raw ", false), -EBUSY);
    assert_int_equal(beside_qemu_io(w, "qemu-io -f raw ", true), -EBUSY);
    assert_int_equal(beside_qemu_io(w, "qemu-io -r -f raw ", true), 0);
}

/* A guest's disk shares less than qemu-io does: not even another reader for its writes. */
static void we_are_kept_off_the_disk_of_a_qemu_guest(void **state)
{
    static const char writer[] = "qemu-system-x86_64 -S -nodefaults -display none -qmp stdio "
                                 "-drive if=virtio,format=raw,file=";
    static const char reader[] = "qemu-system-x86_64 -S -nodefaults -display none -qmp stdio "
                                 "-drive if=virtio,format=raw,readonly=on,file=";
    static const char ask[] = "{'execute': 'qmp_capabilities'} {'execute': 'query-block'}";
    struct image_world *w = *state;

    if (!is_installed("qemu-system-x86_64")) {
        skip();
    }
    assert_int_equal(open_beside(w, writer, ask, "inserted", false), -EBUSY);
    assert_int_equal(open_beside(w, writer, ask, "inserted", true), -EBUSY);
    assert_int_equal(open_beside(w, reader, ask, "inserted", false), -EBUSY);
    assert_int_equal(open_beside(w, reader, ask, "inserted", true), 0);
}

static int tmpfs_start(void **state)
{
    struct statfs fs;

    if (statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC) {
        return image_world_start_in(state, "/dev/shm/test_node_file.XXXXXX");
    }
    return image_world_start(state);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)
#define on_tmpfs(test) cmocka_unit_test_setup_teardown(test, tmpfs_start, image_world_stop)

/* What moves data, once for each engine. */
#define data_tests(by)                                                                           \
    by(direct_io_writes_and_reads_back), by(buffered_io_writes_and_reads_back),                  \
        by(direct_io_states_the_alignment_it_needs), by(holes_read_as_zeroes),                   \
        by(scattered_buffers_are_filled_in_order), by(more_pieces_than_one_call_takes_move_all), \
        by(more_pieces_than_one_call_takes_move_all_directly),                                   \
        by(more_pieces_than_one_call_takes_go_through_the_bounce_pool),                          \
        by(unaligned_buffers_work_with_direct_io), by(crooked_cuts_work_with_direct_io),         \
        by(bounced_request_may_be_larger_than_a_buffer),                                         \
        by(more_bounced_requests_than_buffers_all_end), by(batch_is_one_system_call),            \
        by(more_requests_than_the_engine_takes_all_end), by(flushes_and_writes_mix),             \
        by(fua_write_with_direct_io_succeeds), by(readonly_image_refuses_to_be_written),         \
        by(read_of_a_shrunk_image_fails_with_direct_io),                                         \
        by(read_of_a_shrunk_image_fails_buffered), by(bounced_read_of_a_shrunk_image_fails),     \
        by(removed_image_goes_on), by(write_past_the_file_size_limit_fails),                     \
        by(full_file_system_fails_writes_and_nothing_else)

int main(void)
{
    const struct CMUnitTest tests[] = {
        data_tests(by_aio),
        data_tests(by_threads),
        for_uring(data_tests) in_world(facts_are_those_of_the_file),
        in_world(create_makes_a_sparse_file_of_the_size),
        in_world(create_refuses_what_exists_and_leaves_it),
        in_world(failed_create_leaves_no_file),
        in_world(image_of_another_format_is_refused_by_name),
        in_world(raw_image_of_any_size_is_looked_at_and_opened),
        in_world(image_with_a_luks_header_is_opened_with_a_note),
        in_world(missing_image_is_named),
        in_world(image_of_an_old_disk_is_missed_with_what_start_can_do),
        in_world(sealed_image_of_an_old_disk_is_refused_with_what_can_be_done),
        in_world(directory_is_refused),
        in_world(fifo_is_refused_without_waiting),
        in_world(character_device_is_refused),
        in_world(sealed_file_is_served_read_only_alone),
        in_world(unreadable_image_is_refused),
        on_tmpfs(tmpfs_works_or_says_what_to_do),
        in_world(second_writer_is_refused),
        in_world(reader_beside_a_writer_is_refused),
        in_world(writer_beside_a_reader_is_refused),
        in_world(writer_that_is_just_letting_go_is_waited_for),
        in_world(readers_share_an_image),
        in_world(refused_try_leaves_the_lock_in_place),
        in_world(closed_image_is_free_again),
        in_world(qemu_is_kept_off_an_image_that_we_write),
        in_world(qemu_may_read_what_we_read),
        in_world(we_are_kept_off_an_image_that_qemu_io_writes),
        in_world(we_are_kept_off_the_disk_of_a_qemu_guest),
    };

    return unit_run(tests);
}
