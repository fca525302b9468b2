/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * New files whose room is taken when they are made.
 */

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/block/image_allocate.h"
#include "tests/unit/image_world.h"

#define BYTES (40u << 20)

/* What the host answers from some call on, 0: as it is. */
static struct {
    int fallocate_code; /* errno */
    int pwrite_code;
    unsigned calls; /* before it does */
    unsigned done;
    struct image_progress *unwanted; /* from then on */
} host;

int __real_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
ssize_t __real_pwrite(int fd, const void *data, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t offset);

static bool is_due(void)
{
    if (++host.done <= host.calls) {
        return false;
    }
    if (host.unwanted) {
        host.unwanted->is_unwanted = true;
    }
    return true;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (mode == 0 && is_due() && host.fallocate_code) {
        errno = host.fallocate_code;
        return -1;
    }
    return __real_fallocate(fd, mode, offset, len);
}

/* Of nothing: that is asked to know whether the file can be written. */
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t offset)
{
    if (len > 0 && is_due() && host.pwrite_code) {
        errno = host.pwrite_code;
        return -1;
    }
    return __real_pwrite(fd, data, len > 12345 && offset == 0 ? 8192 : len, offset);
}

static int allocate_world_start(void **state)
{
    memset(&host, 0, sizeof(host));
    return image_world_start(state);
}

static struct image_opts new_opts(const struct image_world *w, enum cache_mode cache,
                                  enum preallocation how)
{
    struct image_opts opts = image_world_opts(w, w->other, cache);

    opts.create = true;
    opts.size = BYTES;
    opts.preallocation = how;
    return opts;
}

static uint64_t allocated(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, BYTES);
    return (uint64_t)st.st_blocks * 512;
}

static void assert_reads_as_zeroes(const char *path)
{
    uint8_t *data = calloc(2, BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    memset(data, 0xee, BYTES);
    assert_int_equal(read(fd, data, BYTES), BYTES);
    assert_memory_equal(data, data + BYTES, BYTES);
    close(fd);
    free(data);
}

static void all_of_it_is_there(struct image_world *w, enum cache_mode cache, enum preallocation how)
{
    struct image_opts opts = new_opts(w, cache, how);
    struct image_progress progress = {0};

    opts.progress = &progress;
    (void)image_world_open_with(w, &opts);
    assert_true(allocated(w->other) >= BYTES);
    assert_int_equal(progress.bytes, BYTES);
    assert_true(
        image_made_is_untouched(&image_facts(w->way.image)->made, image_facts(w->way.image)->fd));
    image_unmake(w->way.image);
    assert_int_equal(access(w->other, F_OK), -1);
}

static void falloc_takes_the_room(void **state)
{
    all_of_it_is_there(*state, CACHE_WRITEBACK, PREALLOCATION_FALLOC);
}

static void full_writes_zeroes(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = new_opts(w, CACHE_WRITEBACK, PREALLOCATION_FULL);

    assert_int_equal(image_world_try(w, &opts), 0);
    assert_reads_as_zeroes(w->other);
    unlink(w->other);
    all_of_it_is_there(w, CACHE_WRITEBACK, PREALLOCATION_FULL);
}

static void full_writes_zeroes_past_the_page_cache(void **state)
{
    if (!image_world_has_direct(*state)) {
        skip();
    }
    all_of_it_is_there(*state, CACHE_NONE, PREALLOCATION_FULL);
}

static void off_leaves_it_sparse(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = new_opts(w, CACHE_WRITEBACK, PREALLOCATION_OFF);

    (void)image_world_open_with(w, &opts);
    assert_true(allocated(w->other) < BYTES / 2);
}

static void assert_fails(struct image_world *w, enum preallocation how, int code, const char *text)
{
    struct image_opts opts = new_opts(w, CACHE_WRITEBACK, how);

    opts.progress = host.unwanted;
    host.done = 0;
    assert_int_equal(image_world_try(w, &opts), code);
    assert_non_null(strstr(w->err.text, text));
    assert_int_equal(access(w->other, F_OK), -1);
}

static void what_cannot_be_allocated_leaves_no_file(void **state)
{
    struct image_world *w = *state;

    host.fallocate_code = EOPNOTSUPP;
    assert_fails(w, PREALLOCATION_FALLOC, -EOPNOTSUPP, "use --preallocation full");
    host.fallocate_code = ENOSPC;
    assert_fails(w, PREALLOCATION_FALLOC, -ENOSPC, "cannot allocate the 41943040 bytes of image");
    assert_non_null(strstr(w->err.text, "make room, or use --preallocation off"));
    host.pwrite_code = ENOSPC;
    host.calls = 7;
    assert_fails(w, PREALLOCATION_FULL, -ENOSPC, "make room");
    assert_int_equal(host.done, 8);
}

static void what_nobody_wants_any_more_ends_soon(void **state)
{
    struct image_world *w = *state;
    struct image_progress progress = {0};

    host.unwanted = &progress;
    host.calls = 2;
    assert_fails(w, PREALLOCATION_FULL, -ECANCELED, "nobody wants it any more");
    assert_true(host.done <= 4);
    assert_fails(w, PREALLOCATION_FALLOC, -ECANCELED, "nobody wants it any more");
}

static void end_that_direct_io_does_not_allow_is_refused_at_once(void **state)
{
    struct image_world *w = *state;
    struct image_opts opts = new_opts(w, CACHE_WRITEBACK, PREALLOCATION_FULL);

    opts.size = BYTES + 100;
    assert_int_equal(image_world_try(w, &opts), -EINVAL);
    assert_non_null(strstr(w->err.text, "41943140 bytes are in no whole blocks of 512"));
    assert_non_null(strstr(w->err.text, "use --size 41943552"));
    assert_int_equal(host.done, 0);
    assert_int_equal(access(w->other, F_OK), -1);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, allocate_world_start, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(falloc_takes_the_room),
        in_world(full_writes_zeroes),
        in_world(full_writes_zeroes_past_the_page_cache),
        in_world(off_leaves_it_sparse),
        in_world(what_cannot_be_allocated_leaves_no_file),
        in_world(what_nobody_wants_any_more_ends_soon),
        in_world(end_that_direct_io_does_not_allow_is_refused_at_once),
    };

    return unit_run(tests);
}
