/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_fate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/names.h"

static const char *const names[] = {
    [IMAGE_UNKNOWN] = "unknown",   [IMAGE_THERE] = "there",     [IMAGE_MOVED] = "moved",
    [IMAGE_REPLACED] = "replaced", [IMAGE_DELETED] = "deleted",
};

const char *image_fate_name(enum image_fate_kind kind)
{
    return names[kind];
}

static void read_name(int fd, char *name, size_t size)
{
    char link[32];
    ssize_t len;

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, name, size - 1);
    name[len > 0 ? len : 0] = '\0';
}

/*
 * NFS and FUSE give a file that is deleted while it is open a name of their own, and delete it when
 * it is closed.
 */
static bool is_name_of_deleted(const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash && (strncmp(slash, "/.nfs", 5) == 0 || strncmp(slash, "/.fuse_hidden", 13) == 0);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    if (S_ISBLK(a->st_mode) || S_ISBLK(b->st_mode)) {
        return (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT) && a->st_rdev == b->st_rdev;
    }
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/*
 * The path leads somewhere.  A file that is bind-mounted stays at the mount's path, and one of
 * /proc/PID/fd with its fd, although it was deleted.
 */
static enum image_fate_kind compare_files(const struct stat *there, int fd, bool had_name)
{
    struct stat ours;

    if (fstat(fd, &ours) < 0) {
        return IMAGE_UNKNOWN;
    }
    if (!is_same(there, &ours)) {
        return IMAGE_REPLACED;
    }
    return S_ISREG(ours.st_mode) && had_name && ours.st_nlink == 0 ? IMAGE_DELETED : IMAGE_THERE;
}

static bool leads_to(const char *name, const struct stat *ours)
{
    struct stat there;

    return names_stat(name, &there) == 0 && is_same(&there, ours);
}

/* What the kernel says of a name that is gone, while the file may have others. */
static bool is_gone(const char *name, const struct stat *ours)
{
    static const char mark[] = " (deleted)";
    size_t len = strlen(name);

    return len >= sizeof(mark) && strcmp(name + len - strlen(mark), mark) == 0 &&
           !leads_to(name, ours);
}

/* Where names are not counted, the one that the kernel knows tells. */
static bool has_some_name(const char *name, const struct stat *ours, bool had_name)
{
    if (is_name_of_deleted(name)) {
        return false;
    }
    return ours->st_nlink > 0 || S_ISBLK(ours->st_mode) || (!had_name && leads_to(name, ours));
}

/* What name has it?  A device is there for as long as it has a number. */
static void find_name(struct image_fate *fate, int fd, bool had_name)
{
    struct stat ours;

    read_name(fd, fate->where, sizeof(fate->where));
    if (fstat(fd, &ours) < 0) {
        return;
    }
    fate->inode = ours.st_ino;
    fate->links = S_ISBLK(ours.st_mode) ? 0 : (unsigned)ours.st_nlink;
    fate->has_name = has_some_name(fate->where, &ours, had_name);
    if (is_gone(fate->where, &ours)) {
        fate->where[0] = '\0';
    }
}

void image_fate_look(struct image_fate *fate, const char *path, int fd, bool had_name)
{
    struct stat there;

    *fate = (struct image_fate){.kind = IMAGE_UNKNOWN};
    if (names_stat(path, &there) == 0) {
        fate->kind = compare_files(&there, fd, had_name);
    } else if (errno == ENOENT || errno == ENOTDIR) {
        fate->kind = IMAGE_DELETED;
    }
    if (!image_fate_is_danger(fate)) {
        return;
    }
    fate->id = image_id_of_fd(fd);
    find_name(fate, fd, had_name);
    if (fate->kind == IMAGE_DELETED && fate->has_name) {
        fate->kind = IMAGE_MOVED;
    }
}

void image_fate_say_where(const struct image_fate *fate, char *text, size_t size)
{
    char id[IMAGE_ID_BYTES];

    if (fate->where[0]) {
        (void)snprintf(text, size, "at %.200s", fate->where);
    } else if (fate->links == 0) {
        image_id_say(&fate->id, id);
        (void)snprintf(text, size, "at %s, of which mknod makes a node", id);
    } else {
        (void)snprintf(text, size, "at %u other name%s, which 'find DIR -inum %" PRIu64 "' tells",
                       fate->links, fate->links == 1 ? "" : "s", fate->inode);
    }
}

/* Not where to: the end of a line may be cut, and a path would have to be quoted. */
static void say_how_to_save(int fd, char *text, size_t size)
{
    (void)snprintf(text, size,
                   "let the guest write no more and save it by "
                   "'cp --sparse=always /proc/%d/fd/%d /SOMEWHERE'",
                   (int)getpid(), fd);
}

/* What is cut at the end is a path, and not the line that saves. */
void image_fate_say(const struct image_fate *fate, const char *path, int fd, char *text,
                    size_t size)
{
    char save[128];
    char where[256];

    say_how_to_save(fd, save, sizeof(save));
    image_fate_say_where(fate, where, sizeof(where));
    text[0] = '\0';
    if (fate->kind == IMAGE_MOVED) {
        bool must_be_found = !fate->where[0] && fate->links > 0 && fd >= 0;

        (void)snprintf(text, size,
                       "the image is not at its path any more, but %s: put it back, or a symbolic "
                       "link to it, or name that by 'vblkctl replace', before the disk is started "
                       "again%s%s (%s)",
                       where, must_be_found ? ", or " : "", must_be_found ? save : "", path);
    } else if (fate->kind == IMAGE_REPLACED && fate->has_name) {
        (void)snprintf(text, size,
                       "the path of the image leads to another one; for the one that is open, %s, "
                       "or put it back: it is %s (%s)",
                       save, where, path);
    } else if (image_fate_is_danger(fate)) {
        (void)snprintf(
            text, size, "the image was deleted%s, and its data is lost when it is closed: %s (%s)",
            fate->kind == IMAGE_REPLACED ? " and another one put in its place" : "", save, path);
    }
}

int image_fate_unlink(const char *path, int fd, bool had_name)
{
    struct image_fate fate;

    image_fate_look(&fate, path, fd, had_name);
    if (fate.kind != IMAGE_THERE) {
        return -ESTALE;
    }
    return names_unlink(path) < 0 ? -errno : 0;
}

int image_made_look(struct image_made *made, int fd)
{
    struct statx stx;

    /* The server's word, as the file may have been written to on another host. */
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx) < 0) {
        return -errno;
    }
    *made = (struct image_made){
        .size = stx.stx_size,
        .blocks = stx.stx_blocks,
        .written_ns = stx.stx_mtime.tv_sec * (int64_t)NS_PER_S + stx.stx_mtime.tv_nsec,
    };
    return 0;
}

bool image_made_is_untouched(const struct image_made *made, int fd)
{
    struct image_made now = {0};

    return image_made_look(&now, fd) == 0 && now.size == made->size && now.blocks == made->blocks &&
           now.written_ns == made->written_ns;
}
