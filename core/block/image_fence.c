/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_fence.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/names.h"
#include "core/block/image_given.h"
#include "core/block/image_holder.h"
#include "core/block/image_id.h"
#include "core/block/image_wait.h"

/* Behind all bytes of image_lock.c. */
#define FENCE_BASE ((off_t)1 << 61)
#define FENCE_MASK ((uint64_t)FENCE_BASE - 1)

static off_t byte_of(uint64_t fence)
{
    return FENCE_BASE + (off_t)(fence & FENCE_MASK);
}

static pthread_mutex_t fences_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct image_fence *own_fences; /* under the mutex, lent by whose they are */

/* Locks are of the inode by which a device is opened, and not of the device. */
static bool is_own(const struct stat *st, uint64_t number)
{
    const struct image_fence *own;

    pthread_mutex_lock(&fences_mutex);
    own = own_fences;
    while (own &&
           (own->number != number || own->device != st->st_dev || own->inode != st->st_ino)) {
        own = own->next;
    }
    pthread_mutex_unlock(&fences_mutex);
    return own != NULL;
}

/* Another program may lock all bytes: image_lock has a word for that. */
static bool is_fenced(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_start == byte &&
           lock.l_len == 1;
}

static int refuse_fence(const struct image_wait *wait, int ret, struct err *err)
{
    char holder[HOLDER_BYTES];

    if (ret == -ECANCELED) {
        return err_say(err, ret, "image %s: not opened any more", wait->image);
    }
    image_holder_say(&wait->holder, holder);
    return err_say(err, ret, "image %s is in use for the same disk by %s", wait->image, holder);
}

static int await_fence(const struct image_opts *opts, int fd, struct err *err)
{
    struct image_wait wait = {
        .image = opts->path, .owner = opts->owner, .progress = opts->progress, .outlives = true};
    const struct lock_span span = {.first = byte_of(opts->fence), .len = 1};
    struct stat st;
    int ret = 0;

    if (fstat(fd, &st) < 0) {
        return 0;
    }
    while (ret == 0 && is_fenced(fd, span.first) && !is_own(&st, opts->fence)) {
        ret = image_wait_again(&wait, fd, &span);
    }
    image_wait_end(&wait, ret == 0);
    return ret < 0 ? refuse_fence(&wait, ret, err) : 0;
}

/*
 * By an fd of its own: the kernel's claim of a device is held by the same I/O, and who cannot open
 * the image is told so when it is opened, as is a disk that has it.
 */
static int await_by_path(const struct image_opts *opts, struct err *err)
{
    struct stat st;
    bool may_open = names_stat(opts->path, &st) == 0 &&
                    (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
                    !image_id_is_of(&opts->ours, &st);
    int fd =
        may_open ? names_open(opts->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0) : -1;
    int ret;

    if (fd < 0) {
        return 0;
    }
    ret = await_fence(opts, fd, err);
    close(fd);
    return ret;
}

/* Who gives an image that it uses itself has the byte, by the same description. */
int image_fence_await(const struct image_opts *opts, struct err *err)
{
    if (!opts->fence || opts->create || opts->is_look || (opts->given && opts->given->is_held)) {
        return 0;
    }
    return opts->given ? await_fence(opts, opts->given->fd, err) : await_by_path(opts, err);
}

/* Shared, as an image that is only read is open for that alone. */
int image_fence_set(int fd, uint64_t number)
{
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte_of(number), .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

int image_fence_open(struct image_fence *fence, int fd, uint64_t number)
{
    struct stat st;
    int ret = fstat(fd, &st) < 0 ? -errno : image_fence_set(fd, number);

    if (ret == 0) {
        fence->device = st.st_dev;
        fence->inode = st.st_ino;
        fence->number = number;
        pthread_mutex_lock(&fences_mutex);
        fence->next = own_fences;
        own_fences = fence;
        pthread_mutex_unlock(&fences_mutex);
    }
    return ret;
}

void image_fence_close(struct image_fence *fence)
{
    struct image_fence **link = &own_fences;

    if (fence->number == 0) {
        return;
    }
    pthread_mutex_lock(&fences_mutex);
    while (*link != fence) {
        link = &(*link)->next;
    }
    *link = fence->next;
    pthread_mutex_unlock(&fences_mutex);
    fence->number = 0;
}
