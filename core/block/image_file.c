/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/text.h"
#include "core/block/granule.h"
#include "core/block/image_allocate.h"
#include "core/block/image_fate.h"
#include "core/block/image_fd.h"
#include "core/block/image_format.h"
#include "core/block/image_lock.h"
#include "core/block/image_refusal.h"
#include "core/block/image_stable.h"
#include "core/block/image_sync.h"
#include "core/block/image_zoned.h"

/* By whoever has given it, who lets go of it. */
static bool is_held_elsewhere(const struct image_opts *opts)
{
    return opts->given && opts->given->is_held;
}

/*
 * Some files can be opened for writing and not be written: a protected device, a file that is
 * swapped to, a memfd that is sealed.  The kernel says so of a write of nothing as well, but for
 * seals.
 */
static int check_writable(const struct image_file *image, const struct image_opts *opts,
                          struct err *err)
{
    int seals = fcntl(image->fd, F_GET_SEALS);
    int code = pwrite(image->fd, "", 0, 0) < 0 ? errno : 0;
    char quoted[TEXT_QUOTED_BYTES];
    struct stat st;

    if (seals > 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))) {
        code = EPERM;
    }
    if (code == 0) {
        return 0;
    }
    if (code == EPERM && fstat(image->fd, &st) == 0 && S_ISBLK(st.st_mode)) {
        err_say(err, -EROFS, "image %s is a write-protected device", image->path);
        err_hint(err,
                 "lift the protection: blockdev --setrw %s (a loop device has to be attached "
                 "without --read-only)",
                 text_quote(image->path, quoted));
        image_refusal_option(opts, err, "--readonly");
        return -EROFS;
    }
    err_set(err, -code, "image %s cannot be written", image->path);
    if (code == ETXTBSY) {
        err_hint(err, "it is swap space in use: swapoff %s", text_quote(image->path, quoted));
    }
    image_refusal_option(opts, err, "--readonly");
    return -code;
}

/*
 * Only when the disk is added, and nobody has said that it is raw: see image_format.h.
 */
static int check_format(struct image_file *image, struct err *err)
{
    const struct image_format *format = NULL;
    char quoted[TEXT_QUOTED_BYTES];
    int ret = image_format_read(image->fd, image->range.offset, image->shape.size,
                                image_shape_align(&image->shape), &format);

    if (ret < 0) {
        err_set(err, ret, "cannot read from image %s what format it has", image->path);
        err_hint(err, "with --format raw nobody asks");
        return ret;
    }
    if (!format) {
        return 0;
    }
    if (format->kind == IMAGE_CIPHER) {
        image->note = "the image begins with a LUKS header: it is served as it is, encrypted";
        return 0;
    }
    if (format->kind == IMAGE_PACKED) {
        err_say(err, -EMEDIUMTYPE, "image %s is compressed (%s), and served would be what it is",
                image->path, format->name);
        err_hint(err, "unpack it first, or use --format raw if it is a raw disk all the same");
    } else {
        err_say(err, -EMEDIUMTYPE, "image %s is in %s format, and vblkd serves raw images",
                image->path, format->name);
        err_hint(err,
                 "convert it: qemu-img convert -O raw %s NEW, or use --format raw if it is a raw "
                 "disk whose guest wrote such bytes",
                 text_quote(image->path, quoted));
    }
    return -EMEDIUMTYPE;
}

/* Its making may have taken long: what somebody has written to it meanwhile stays. */
static int create_size(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    struct stat st;
    int ret;

    if (fstat(image->fd, &st) == 0 && st.st_size > 0) {
        image->is_created = false;
        return err_say(err, -EEXIST, "image %s: it was written to as soon as it was made",
                       opts->path);
    }
    if (ftruncate(image->fd, (off_t)opts->size) < 0) {
        return err_set(err, -errno, "cannot make image %s %llu bytes long", opts->path,
                       (unsigned long long)opts->size);
    }
    ret = image_made_look(&image->made, image->fd);
    return ret < 0 ? err_set(err, ret, "image %s", opts->path) : 0;
}

static int find_facts(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    int ret = image_shape_find(&image->shape, image->fd, image->is_direct);
    struct stat st;

    if (ret < 0) {
        return err_set(err, ret, "cannot tell the size of image %s", image->path);
    }
    ret = image_range_fit(&image->range, &image->shape, image->path, err);
    if (ret < 0) {
        return ret;
    }
    image->id = image_id_of_fd(image->fd);
    image->had_name = fstat(image->fd, &st) == 0 && st.st_nlink > 0;
    if (is_held_elsewhere(opts)) {
        image->had_name = opts->given->had_name;
    }
    if (opts->is_new) {
        image->chs =
            image_chs_read(image->fd, image->range.offset, image_shape_align(&image->shape));
    }
    return image->shape.is_device && !opts->is_readonly
               ? image_zoned_check(st.st_rdev, image->path, err)
               : 0;
}

static int open_sync(struct image_file *image, struct err *err)
{
    int ret = image_sync_open(&image->sync, image->fd, image->path);

    return ret < 0 ? err_set(err, ret, "image %s", image->path) : 0;
}

/* What was known of its syncs before. */
static int take_over_sync(struct image_file *image, struct image_given *given, struct err *err)
{
    if (image->sync && given->witness >= 0) {
        image_sync_use_witness(image->sync, given->witness);
        given->witness = -1;
    }
    return given->loss.code < 0 ? image_file_inherit(image, &given->loss, err) : 0;
}

/* Locks on other descriptions than the image's, which cannot be had a second time. */
static void take_over_claims(struct image_file *image, struct image_given *given)
{
    memcpy(image->claim.fd, given->claim, sizeof(image->claim.fd));
    image->claim.count = given->claims;
    given->claims = 0;
}

/* Nobody else's it is from here on, nor is what it lies on. */
static int lock_all(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    const struct image_use use = {
        .image = opts->path,
        .owner = opts->owner,
        .range = image->is_direct ? opts->range : image_range_pages(&opts->range),
        .is_readonly = opts->is_readonly,
        .is_shareable = opts->is_shareable,
        .is_retry = opts->is_retry,
        .progress = opts->progress,
    };
    struct stat st;
    int ret = 0;

    if (image_fd_is_claimed(opts) && image_fd_has_company(opts) && !is_held_elsewhere(opts) &&
        fstat(image->fd, &st) == 0 && S_ISBLK(st.st_mode)) {
        ret = image_claim_try(opts, err);
    }
    if (ret == 0) {
        ret = image_lock(image->fd, opts->path, &use, err);
    }
    image->is_unfenced =
        ret == 0 && opts->fence && image_fence_open(&image->fence, image->fd, opts->fence) < 0;
    image->is_created = opts->create && ret == 0; /* else somebody has begun to use it */
    if (ret == 0 && is_held_elsewhere(opts)) {
        take_over_claims(image, opts->given);
    } else if (ret == 0) {
        ret = image_claim_open(&image->claim, image->fd, &use, err);
    }
    return ret;
}

/*
 * Of a device that several hosts share: network and cluster file systems see to it themselves.
 * Source: QEMU 10.0, block/file-posix.c, raw_co_invalidate_cache.
 */
static void forget_pages(const struct image_file *image, const struct image_opts *opts)
{
    const struct image_range pages = image_range_pages(&opts->range); /* parts of one are kept */
    int ret = opts->is_taken && !image->is_direct
                  ? posix_fadvise(image->fd, (off_t)pages.offset, (off_t)pages.length,
                                  POSIX_FADV_DONTNEED)
                  : 0;

    if (ret != 0) {
        log_warn("image %s: the host's page cache cannot be dropped, and may be older than the "
                 "image: %s",
                 image->path, strerror(ret));
    }
}

/* What direct I/O cannot write to its end is refused before that takes its time. */
static int take_room(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    int ret;

    if (!is_aligned(opts->size, image->shape.block_size)) {
        (void)err_say(err, -EINVAL, "image %s: %" PRIu64 " bytes are in no whole blocks of %u",
                      opts->path, opts->size, image->shape.block_size);
        err_hint(err, "use --size %" PRIu64, round_up(opts->size, image->shape.block_size));
        return -EINVAL;
    }
    ret = image_allocate(image->fd, opts, image->is_direct, err);
    if (ret == 0) {
        ret = image_made_look(&image->made, image->fd);
        ret = ret < 0 ? err_set(err, ret, "image %s", opts->path) : 0;
    }
    return ret;
}

/* Open: is it what is wanted, and free? */
static int check_opened(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    int ret = opts->is_look ? 0 : lock_all(image, opts, err);

    if (ret == 0) {
        forget_pages(image, opts);
    }
    if (ret == 0 && !opts->is_readonly) {
        image->discard_block = granule_of_fd(image->fd);
    }
    if (ret == 0 && opts->create) {
        ret = create_size(image, opts, err);
    }
    if (ret == 0) {
        ret = find_facts(image, opts, err);
    }
    if (ret == 0 && opts->probe && !opts->create) {
        ret = check_format(image, err);
    }
    if (ret == 0 && !opts->is_readonly) {
        ret = check_writable(image, opts, err);
    }
    if (ret == 0 && !image->is_direct && !opts->is_readonly && !opts->is_look) {
        ret = open_sync(image, err);
    }
    if (ret == 0 && is_held_elsewhere(opts)) {
        ret = take_over_sync(image, opts->given, err);
    }
    if (ret == 0 && opts->create && opts->preallocation != PREALLOCATION_OFF) {
        ret = take_room(image, opts, err);
    }
    return ret == 0 && opts->is_copy ? image_stable_make(image->fd, image->path, err) : ret;
}

int image_file_inherit(struct image_file *image, const struct image_loss *loss, struct err *err)
{
    int ret = image->sync ? 0 : open_sync(image, err);

    if (ret == 0) {
        image_sync_inherit(image->sync, loss);
    }
    return ret;
}

void image_file_close(struct image_file *image)
{
    if (image->sync) {
        image_sync_close(image->sync);
    }
    if (image->fd >= 0) {
        image_lock_close(image->fd);
    }
    image_fence_close(&image->fence);
    image_claim_close(&image->claim);
    if (image->wipe_lock) {
        pthread_mutex_destroy(image->wipe_lock);
    }
    free(image->wipe_lock);
    free(image->path);
    image->fd = -1;
    image->sync = NULL;
    image->wipe_lock = NULL;
    image->path = NULL;
}

void image_file_give(const struct image_file *image, struct image_given *given)
{
    *given = (struct image_given){
        .fd = image->fd,
        .is_held = true,
        .claims = image->claim.count,
        .witness = image->sync ? image->sync->witness_fd : -1,
        .had_name = image->had_name,
    };
    memcpy(given->claim, image->claim.fd, sizeof(given->claim));
    if (image->sync) {
        given->loss = image_sync_loss(image->sync);
    }
}

/* Close it, and unlink what this opening created. */
static void undo_open(struct image_file *image)
{
    if (image->is_created) {
        (void)image_fate_unlink(image->path, image->fd, image->had_name); /* else it is another's */
    }
    image_file_close(image);
}

/* By its path, or as it was given. */
static int open_fd(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    int ret = is_held_elsewhere(opts) ? 0 : image_fence_await(opts, err);

    if (ret == 0 && opts->given) {
        image->fd = opts->given->fd;
        opts->given->fd = -1;
    } else if (ret == 0) {
        image->fd = ret = image_fd_open(opts, err);
    }
    return min_of(ret, 0);
}

static int open_file(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    int ret;

    *image = (struct image_file){
        .fd = -1, .is_direct = cache_is_direct(opts->cache), .range = opts->range};
    image->path = strdup(opts->path);
    image->wipe_lock = malloc(sizeof(pthread_mutex_t));
    if (!image->path || !image->wipe_lock) {
        free(image->wipe_lock);
        free(image->path);
        *image = (struct image_file){.fd = -1};
        return err_set(err, -ENOMEM, "image %s", opts->path);
    }
    pthread_mutex_init(image->wipe_lock, NULL);
    ret = open_fd(image, opts, err);
    if (ret == 0) {
        ret = check_opened(image, opts, err);
    }
    if (ret < 0) {
        undo_open(image);
    }
    return ret;
}

int image_file_open(struct image_file *image, const struct image_opts *opts, struct err *err)
{
    int ret = open_file(image, opts, err);

    if (opts->given) {
        image_given_close(opts->given); /* what is left of it */
    }
    return ret;
}

/* A device gets another size from elsewhere, and has it already when we are told. */
int image_file_measure(const struct image_file *image, uint64_t *bytes, bool *is_fixed,
                       struct err *err)
{
    struct stat st;
    int ret = fstat(image->fd, &st);

    *bytes = ret == 0 ? (uint64_t)st.st_size : 0;
    if (ret == 0 && S_ISBLK(st.st_mode)) {
        ret = ioctl(image->fd, BLKGETSIZE64, bytes);
    }
    *bytes = image_range_bytes(&image->range, *bytes);
    *is_fixed = image->shape.is_device || image->range.length > 0;
    return ret < 0 ? err_set(err, -errno, "cannot tell the size of image %s", image->path) : 0;
}

static int refuse_resize(const struct image_file *image, uint64_t size, struct err *err)
{
    err_say(err, -EINVAL, "image %s is a device of %" PRIu64 " bytes, and gets no other size here",
            image->path, size);
    err_hint(err, "change the device first, and then have the disk look at it anew");
    return -EINVAL;
}

static int set_length(const struct image_file *image, uint64_t bytes, struct err *err)
{
    uint64_t file_bytes;
    int ret = image_range_file_bytes(&image->range, bytes, &file_bytes, err);

    if (ret < 0) {
        return ret;
    }
    if ((fcntl(image->fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        return err_say(err, -EROFS, "image %s is open for reading only", image->path);
    }
    if (file_bytes > INT64_MAX) {
        return err_set(err, -EFBIG, "image %s", image->path);
    }
    if (ftruncate(image->fd, (off_t)file_bytes) < 0) {
        return err_set(err, -errno, "cannot make image %s %" PRIu64 " bytes long", image->path,
                       bytes);
    }
    return 0;
}

int image_file_resize(const struct image_file *image, uint64_t bytes, struct err *err)
{
    uint64_t size;
    bool is_fixed;
    int ret = image_file_measure(image, &size, &is_fixed, err);

    if (ret < 0 || size == bytes) {
        return ret;
    }
    return image->shape.is_device ? refuse_resize(image, size, err) : set_length(image, bytes, err);
}
