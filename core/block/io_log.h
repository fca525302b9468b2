/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A file that says what the kernel was asked to do with an image, with the bytes of each write, and
 * when it had done so: for tests of what a flush covers, and of what a power cut leaves.  What is
 * changed or made stable is in it, reads are not.
 *
 * A record is appended by one write(2), so the order of the file is one that all threads and
 * processes agree on: a beginning stands in it before the kernel is asked, an end when the kernel
 * has answered.  If one's end is before another's beginning, it was over when that one began.
 *
 * The daemon has one for each image if VBLKD_IO_LOG names a folder: DISK.iolog.  There is no option
 * for it, as it is slow, and no part of what is promised.
 * Owned by the image.  Thread: any.
 */

#include <stdatomic.h>

#include "core/base/err.h"
#include "core/block/io.h"

enum io_record_kind {
    IO_RECORD_BEGIN = 1, /* bytes of a write follow */
    IO_RECORD_END,
    IO_RECORD_CLOSE,    /* the image is closed, and nothing under way */
    IO_RECORD_ASKED,    /* a test's guest asks for something, and */
    IO_RECORD_ANSWERED, /* has its answer */
    IO_RECORD_NOTE,     /* a test's text follows */
};

#define IO_RECORD_MAGIC 0x676f6c6b6c62766full

/* As it stands in the file; tests/e2e/powercut.py reads it, too. */
struct io_record {
    uint64_t magic;
    uint32_t kind;
    uint16_t op;     /* enum io_op */
    uint16_t flags;  /* enum io_flag */
    uint64_t id;     /* which beginning an end belongs to */
    uint64_t offset; /* bytes, of the file */
    uint64_t length;
    int64_t result; /* of an end: bytes, or -errno */
    uint64_t data_bytes;
    uint64_t time_ns; /* for people */
};

_Static_assert(sizeof(struct io_record) == 64, "a format of files");

/* Mistakes that tests have to find, by VBLKD_IO_SPOIL: each is one that a program might make. */
enum io_spoil {
    IO_SPOIL_NOTHING,
    IO_SPOIL_FLUSHES, /* none is done */
    IO_SPOIL_MOST,    /* one of four is done, as if the others had come too soon after it */
    IO_SPOIL_CLEAN,   /* none is done by a lane that has written nothing since its last one */
    IO_SPOIL_STABLE,  /* writes that have to be stable are as others */
};

struct io_log {
    int fd; /* owned */
    enum io_spoil spoil;
    _Atomic uint64_t next_id;
    _Atomic unsigned flushes; /* of all lanes, for IO_SPOIL_MOST */
    _Atomic bool is_broken;   /* a record is missing, and the log says so */
};

/* Appended to what is there.  May block. */
int io_log_open(struct io_log **out, const char *path, struct err *err);

/* As the environment says; `*out` is NULL if it says nothing. */
int io_log_open_for(struct io_log **out, const char *disk, struct err *err);

/* Warn of what the environment says: nobody is to serve guests with it by mistake. */
void io_log_tell(void);

/* Nothing happens when it is NULL. */
void io_log_close(struct io_log *log);

/* Kind, operation, flags, id, range and result are set; data are `count` pieces, maybe none. */
void io_log_put(struct io_log *log, const struct io_record *record, const struct iovec *iov,
                unsigned count);

/*
 * What is asked of the kernel next, and what came of it.  `record` has operation, flags and range;
 * returns the id.  Without a log, which is NULL, nothing happens.
 */
uint64_t io_log_begin(struct io_log *log, struct io_record record, const struct iovec *iov,
                      unsigned count);
void io_log_end(struct io_log *log, uint64_t id, int64_t result);
