/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * How an image is to be opened, and what people call the choices.  Plain values.
 */

#include "core/base/base.h"
#include "core/block/image_id.h"
#include "core/block/image_range.h"

/* As QEMU defines them (qemu-system-x86_64(1), -drive cache=). */
enum cache_mode {
    CACHE_NONE,         /* O_DIRECT, guest flushes */
    CACHE_DIRECTSYNC,   /* O_DIRECT, every write is stable before it is answered */
    CACHE_WRITEBACK,    /* host page cache, guest flushes */
    CACHE_WRITETHROUGH, /* host page cache, every write is stable before it is answered */
    CACHE_UNSAFE,       /* host page cache, what the guest flushes is answered and not done */
};

/* What hands the operations on a file to the kernel. */
enum io_engine {
    ENGINE_AUTO, /* what suits the image and the host */
    ENGINE_AIO,
    ENGINE_IO_URING,
    ENGINE_THREADS, /* what auto takes without io_uring; without a name, and so the last */
};

/* Large operations through memory in huge pages of our own (huge_bounce.h). */
enum huge_use { HUGE_AUTO, HUGE_OFF, HUGE_ON };

/* What becomes of a write whose data are all zero. */
enum detect_zeroes {
    DETECT_OFF,   /* it is written, and nobody looks */
    DETECT_ON,    /* it is zeroed, and stays allocated */
    DETECT_UNMAP, /* it is zeroed, and may be given back */
};

/* Of a new file, as QEMU defines them (qemu-img(1), raw). */
enum preallocation {
    PREALLOCATION_OFF,    /* it is sparse */
    PREALLOCATION_FALLOC, /* its room is taken, and nothing written */
    PREALLOCATION_FULL,   /* zeroes are written */
};

struct image_given;
struct image_progress;

struct image_opts {
    const char *type;      /* "file" or "null" */
    const char *path;      /* file: lent for the time of the call */
    uint64_t size;         /* bytes; null: the size; file: only with `create` */
    uint32_t delay_ms;     /* null: how long each request takes */
    int error;             /* null: how requests fail, -errno; 0: they do not */
    uint32_t error_every;  /* null: each so many'th of them does */
    bool holds_errors;     /* null: who asks waits for a person then, instead of an answer */
    unsigned max_inflight; /* how many requests at once are worth preparing for */
    enum cache_mode cache;
    enum io_engine engine;    /* file */
    struct image_range range; /* file */
    const char *owner;        /* file: see struct image_use; lent for the time of the call */
    uint64_t fence; /* file: a number of the disk's own, see image_fence.h; 0: it has none */
    bool is_readonly;
    bool is_shareable; /* file: see struct image_use */
    bool emulates_512; /* sectors of 512 bytes are served where it takes larger blocks only */
    bool is_new; /* the disk is being added: its geometry is guessed, and hints may tell options */
    bool create; /* file: it must not exist; made sparse, `size` bytes long */
    enum preallocation preallocation; /* file, with `create`: not sparse */
    struct image_progress *progress;  /* lent: how far it is; NULL: nobody asks */
    bool probe;                       /* file: refuse what looks like another format than raw */
    bool is_look;  /* file: its facts are wanted, and no I/O: somebody else may have it locked */
    bool is_taken; /* file: another host wrote to it, so what the page cache has may be old */
    bool is_retry; /* file: see struct image_use */
    bool is_empty; /* null: in the place of a file that may come: it shows what files have */
    bool is_other; /* file: of a disk that has, or had, another one */
    bool is_copy; /* file: somebody has copied it, and what it has is to be stable before it is used
                   */
    struct image_given
        *given; /* file: it is open by these, which are taken over in any case; NULL: by its path */
    struct image_id ours; /* file: that the disk has open; the same is -EALREADY; 0: it has none */
};

/* What people call them, by number; NULL ends each.  An engine without a name is not asked for. */
extern const char *const cache_mode_names[];
extern const char *const engine_names[];
extern const char *const huge_use_names[];
extern const char *const detect_names[];
extern const char *const preallocation_names[];

/* "none" -> CACHE_NONE ...  Returns false for any other text. */
bool cache_mode_parse(const char *text, enum cache_mode *mode);

/* "auto" -> ENGINE_AUTO ...  Returns false for any other text. */
bool engine_parse(const char *text, enum io_engine *engine);

/* "auto" -> HUGE_AUTO ...  Returns false for any other text. */
bool huge_use_parse(const char *text, enum huge_use *use);

/* "off" -> DETECT_OFF ...  Returns false for any other text. */
bool detect_parse(const char *text, enum detect_zeroes *detect);

/* "off" -> PREALLOCATION_OFF ...  Returns false for any other text. */
bool preallocation_parse(const char *text, enum preallocation *preallocation);

static inline bool cache_is_direct(enum cache_mode mode)
{
    return mode == CACHE_NONE || mode == CACHE_DIRECTSYNC;
}

/* Must each write be stable before it is answered? */
static inline bool cache_is_writethrough(enum cache_mode mode)
{
    return mode == CACHE_DIRECTSYNC || mode == CACHE_WRITETHROUGH;
}
