/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/base/glance.h"
#include "core/base/log.h"
#include "core/base/names.h"
#include "core/base/sysfs.h"
#include "core/base/thread.h"

/* Of all loop devices together; and of each that comes after one which took all of it. */
#define SURVEY_MS 1000u
#define SURVEY_REST_MS 100u

/* The kernel's own encoding of 32 bits.  Source: Linux, include/linux/kdev_t.h, new_encode_dev. */
static dev_t device_of(uint64_t encoded)
{
    return makedev((encoded & 0xfff00) >> 8, (encoded & 0xff) | (encoded >> 12 & 0xfff00));
}

bool image_loop_get(int fd, dev_t dev, struct loop_info64 *info)
{
    return major(dev) == LOOP_MAJOR && ioctl(fd, LOOP_GET_STATUS64, info) == 0;
}

bool image_loop_is_of(const struct loop_info64 *info, const struct stat *st)
{
    return device_of(info->lo_device) == st->st_dev && info->lo_inode == st->st_ino;
}

int image_loop_open(const char *path)
{
    return names_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
}

static uint64_t end_of(const struct loop_info64 *info)
{
    return info->lo_sizelimit == 0 ? UINT64_MAX : info->lo_offset + info->lo_sizelimit;
}

/* An image that is to be written, and what it is attached to if it is a loop device itself. */
struct written {
    struct stat st;
    bool is_loop;
    struct loop_info64 loop;
};

/* Do the bytes of a loop device, attached as `info` says, belong to the image? */
static bool is_attached(const struct loop_info64 *info, const struct written *image)
{
    if (image->is_loop && info->lo_device == image->loop.lo_device &&
        info->lo_inode == image->loop.lo_inode) {
        return info->lo_offset < end_of(&image->loop) && image->loop.lo_offset < end_of(info);
    }
    if (S_ISBLK(image->st.st_mode)) {
        return info->lo_rdevice != 0 && device_of(info->lo_rdevice) == image->st.st_rdev;
    }
    return image_loop_is_of(info, &image->st);
}

/* The same for a device that we may not open: the name tells. */
static bool is_named(const char *backing, const struct written *image)
{
    struct stat st;

    return names_stat(backing, &st) == 0 && st.st_dev == image->st.st_dev &&
           st.st_ino == image->st.st_ino;
}

/* One loop device.  `image` is a copy: it may be gone by the time that the device answers. */
struct look {
    struct glance glance;
    struct written image;
    char backing[PATH_MAX];
    bool is_on;
};

/* Asking for the device's file waits for the file system that it is on. */
static void look_at_loop(struct glance *glance)
{
    struct look *look = containerof(glance, struct look, glance);
    const struct written *image = &look->image;
    struct loop_info64 info = {0}; /* valgrind does not know the ioctl */
    struct stat st;
    int fd = image_loop_open(glance->what);

    if (fd < 0) {
        look->is_on = is_named(look->backing, image);
        return;
    }
    if (fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) &&
        !(S_ISBLK(image->st.st_mode) && st.st_rdev == image->st.st_rdev) &&
        image_loop_get(fd, st.st_rdev, &info)) {
        look->is_on = is_attached(&info, image);
    }
    close(fd);
}

struct survey {
    struct written image;
    const char *path;
    uint64_t end_ns;
    struct err *err;
};

static unsigned time_left_ms(const struct survey *survey)
{
    uint64_t now = now_ns();

    return now < survey->end_ns ? (unsigned)((survey->end_ns - now) / NS_PER_MS) + SURVEY_REST_MS
                                : SURVEY_REST_MS;
}

/* Returns 1 when bytes of the image are there, 0 when not, or when it does not answer. */
static int take_look(const struct survey *survey, struct look *look)
{
    char device[sizeof(look->glance.what)];
    int ret;

    memcpy(device, look->glance.what, sizeof(device)); /* the look may be its thread's by then */
    ret = glance_take(&look->glance, time_left_ms(survey));

    if (ret == -ETIMEDOUT) {
        log_warn("image %s: %s does not answer, not looked at: is it attached to the image?",
                 survey->path, device);
        return 0;
    }
    if (ret < 0) {
        (void)err_set(survey->err, ret, "image %s: no thread to look at %s", survey->path, device);
        thread_hint(survey->err);
    } else {
        ret = look->is_on;
    }
    free(look);
    return ret;
}

/* `loop` is a name of /sys/block. */
static int is_on(const struct survey *survey, const char *loop)
{
    char path[PATH_MAX];
    char backing[PATH_MAX];
    struct look *new;

    (void)snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file", loop);
    if (!sysfs_line(path, backing, sizeof(backing))) {
        return 0; /* it has none */
    }
    new = calloc(1, sizeof(*new));
    if (!new) {
        return err_set(survey->err, -ENOMEM, "image %s", survey->path);
    }
    new->glance.run = look_at_loop;
    new->image = survey->image;
    (void)snprintf(new->glance.what, sizeof(new->glance.what), "/dev/%.32s", loop);
    (void)snprintf(new->backing, sizeof(new->backing), "%s", backing);
    return take_look(survey, new);
}

/* As with devices, which cannot be written while they are mounted: others' reading counts too. */
static int look_at(const struct survey *survey, const char *loop)
{
    int ret = is_on(survey, loop);

    if (ret <= 0) {
        return ret;
    }
    (void)err_say(survey->err, -EBUSY, "image %s is in use: /dev/%.32s is attached to it",
                  survey->path, loop);
    err_hint(survey->err, "unmount that and detach it: losetup --detach /dev/%.32s", loop);
    return -EBUSY;
}

static int look_at_all(const struct survey *survey)
{
    DIR *dir = opendir("/sys/block");
    const struct dirent *entry;
    int ret = 0;

    while (ret == 0 && dir && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, "loop", 4) == 0) {
            ret = look_at(survey, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return ret;
}

int image_loop_survey(int fd, const char *path, struct err *err)
{
    struct survey survey = {.path = path, .end_ns = now_ns() + SURVEY_MS * NS_PER_MS, .err = err};
    struct written *image = &survey.image;

    if (fstat(fd, &image->st) < 0) {
        return err_set(err, -errno, "image %s", path);
    }
    image->is_loop =
        S_ISBLK(image->st.st_mode) && image_loop_get(fd, image->st.st_rdev, &image->loop);
    return look_at_all(&survey);
}
