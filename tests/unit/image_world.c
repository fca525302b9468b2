/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/image_world.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const enum io_engine image_world_aio = ENGINE_AIO;
const enum io_engine image_world_uring = ENGINE_IO_URING;
const enum io_engine image_world_threads = ENGINE_THREADS;

void image_world_make(const char *path, off_t size)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, size) != 0) {
        abort();
    }
    close(fd);
}

int image_world_start_in(void **state, const char *template)
{
    static struct image_world world;
    const enum io_engine *engine = *state;

    memset(&world, 0, sizeof(world));
    world.engine = engine ? *engine : ENGINE_AUTO;
    strcpy(world.dir, template);
    if (!mkdtemp(world.dir)) {
        abort();
    }
    snprintf(world.image, sizeof(world.image), "%s/image", world.dir);
    snprintf(world.other, sizeof(world.other), "%s/other", world.dir);
    image_world_make(world.image, IMAGE_BYTES);
    *state = &world;
    return 0;
}

int image_world_start(void **state)
{
    return image_world_start_in(state, "./test_image.XXXXXX");
}

struct image_opts image_world_opts(const struct image_world *w, const char *path,
                                   enum cache_mode cache)
{
    return (struct image_opts){
        .type = "file", .path = path, .cache = cache, .engine = w->engine, .max_inflight = 64};
}

bool image_world_has_direct(const struct image_world *w)
{
    int fd = open(w->image, O_RDWR | O_DIRECT | O_CLOEXEC);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

int image_world_stop(void **state)
{
    struct image_world *w = *state;

    way_close(&w->way);
    unlink(w->image);
    unlink(w->other);
    rmdir(w->dir);
    return 0;
}

struct path *image_world_open_with(struct image_world *w, const struct image_opts *opts)
{
    assert_int_equal(way_open(&w->way, opts, &w->err), 0);
    return w->way.path;
}

struct path *image_world_open(struct image_world *w, enum cache_mode cache)
{
    struct image_opts opts = image_world_opts(w, w->image, cache);

    if (cache_is_direct(cache) && !image_world_has_direct(w)) {
        skip();
    }
    return image_world_open_with(w, &opts);
}

int image_world_try(struct image_world *w, const struct image_opts *opts)
{
    struct way way;
    int ret;

    w->err.text[0] = '\0';
    ret = way_open(&way, opts, &w->err);
    if (ret == 0) {
        way_close(&way);
    } else {
        assert_string_not_equal(w->err.text, "");
    }
    return ret;
}

void fill_bytes(uint8_t *data, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)((i >> 8) * 31 + i + seed * 17);
    }
}

uint8_t *aligned_buffer(size_t len)
{
    void *buffer;

    if (posix_memalign(&buffer, BLOCK, len) != 0) {
        abort();
    }
    memset(buffer, 0xcc, len);
    return buffer;
}
