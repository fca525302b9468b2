/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A directory of its own on the file system that we are built on, with one image in it, and a way
 * to it when it is open: what tests of files start from.
 */

#include <config.h>

#include "tests/unit/operation.h"

#define IMAGE_BYTES (4u << 20)
#define BLOCK 4096u

struct image_world {
    char dir[64];
    char image[96];
    char other[96]; /* does not exist yet */
    struct err err;
    enum io_engine engine;
    struct way way; /* closed at the end, if it is open */
};

/*
 * A test with an engine by name.  Where the kernel refuses io_uring, it is Linux AIO once more;
 * where it is not built in, for_uring leaves a list of tests out.
 */
extern const enum io_engine image_world_aio;
extern const enum io_engine image_world_uring;
extern const enum io_engine image_world_threads;
#define by_engine(test, which)                                                                     \
    {                                                                                              \
#test ", " #which, test, image_world_start, image_world_stop, (void *)&image_world_##which \
    }
#define by_aio(test) by_engine(test, aio)
#define by_threads(test) by_engine(test, threads)
#define by_uring(test) by_engine(test, uring)
#ifdef HAVE_LIBURING
#define for_uring(list) list(by_uring),
#else
#define for_uring(list)
#endif

/* Set-up and tear-down of a test; what *state points to at first is an engine, or NULL. */
int image_world_start(void **state);
int image_world_start_in(void **state, const char *template);
int image_world_stop(void **state);

/* A sparse file. */
void image_world_make(const char *path, off_t size);

struct image_opts image_world_opts(const struct image_world *w, const char *path,
                                   enum cache_mode cache);

bool image_world_has_direct(const struct image_world *w);

/* Open the image, or skip the test when the file system has no O_DIRECT. */
struct path *image_world_open(struct image_world *w, enum cache_mode cache);

struct path *image_world_open_with(struct image_world *w, const struct image_opts *opts);

/* Open and close; an error has to have a text. */
int image_world_try(struct image_world *w, const struct image_opts *opts);

/* Bytes that tell their own place. */
void fill_bytes(uint8_t *data, size_t len, unsigned seed);

uint8_t *aligned_buffer(size_t len);
