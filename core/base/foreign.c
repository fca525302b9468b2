/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/foreign.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/base/fs_kind.h"

static void refuse_foreign(struct foreign *foreign, const char *what)
{
    foreign->kind = FOREIGN_REFUSED;
    (void)snprintf(foreign->what, sizeof(foreign->what), "%s", what);
}

static void let_in(struct foreign *foreign, enum foreign_kind kind, const char *what)
{
    refuse_foreign(foreign, what);
    foreign->kind = kind;
}

static bool is_local(unsigned long type)
{
    const struct fs_kind *kind = fs_kind_of(type);

    return kind && kind->is_local;
}

static void refuse_file_system(struct foreign *foreign, unsigned long type)
{
    const struct fs_kind *kind = fs_kind_of(type);
    char what[64];

    if (kind) {
        (void)snprintf(what, sizeof(what), "a file on %s", kind->name);
    } else {
        (void)snprintf(what, sizeof(what), "a file on a file system of type 0x%lx", type);
    }
    refuse_foreign(foreign, what);
}

/* Source: Linux, Documentation/ABI/testing/sysfs-bus-dax; drivers/dax/device.c. */
static bool is_dax(dev_t device)
{
    static const char dax[] = "/dax";
    char path[64];
    char link[256];
    ssize_t len;

    (void)snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem", major(device),
                   minor(device));
    len = readlink(path, link, sizeof(link));
    return len > (ssize_t)sizeof(dax) &&
           memcmp(link + len - (sizeof(dax) - 1), dax, sizeof(dax) - 1) == 0;
}

/* It has a path: the file system is asked for the rest. */
static void look_at_file(struct foreign *foreign)
{
    struct statfs fs;
    struct stat st;

    if (fstatfs(foreign->fd, &fs) < 0 || fstat(foreign->fd, &st) < 0) {
        refuse_foreign(foreign, "a file that cannot be looked at");
    } else if (S_ISCHR(st.st_mode) && is_dax(st.st_rdev)) {
        let_in(foreign, FOREIGN_FILE, "a DAX device");
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        refuse_foreign(foreign, "a device that is no DAX device");
    } else if (!is_local((unsigned long)fs.f_type)) {
        refuse_file_system(foreign, (unsigned long)fs.f_type);
    } else if (S_ISREG(st.st_mode)) {
        let_in(foreign, FOREIGN_FILE, "a file");
    } else if (S_ISFIFO(st.st_mode)) {
        let_in(foreign, FOREIGN_PIPE, "a pipe");
    } else {
        refuse_foreign(foreign, S_ISDIR(st.st_mode) ? "a directory" : "a file of a strange kind");
    }
}

/*
 * One end of a socketpair has a peer without a name.  The front-end's own end of a connection has a
 * peer with one, and to hold that would keep a connection open after the front-end has gone.
 */
static bool is_half_of_pair(int fd)
{
    struct sockaddr_un peer = {.sun_family = AF_UNSPEC};
    socklen_t peer_len = sizeof(peer);
    int domain = 0;
    socklen_t domain_len = sizeof(domain);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
           peer_len == sizeof(peer.sun_family);
}

/*
 * Nothing will ever be read from it, so nothing may wait in it: least of all fds, which whoever
 * closes it would close.
 */
static void close_for_reading(int fd)
{
    uint8_t unused[256];

    (void)shutdown(fd, SHUT_RD); /* cannot fail on a connected socket */
    while (recv(fd, unused, sizeof(unused), MSG_DONTWAIT) > 0) {
    }
}

static void look_at_socket(struct foreign *foreign)
{
    if (is_half_of_pair(foreign->fd)) {
        close_for_reading(foreign->fd);
        let_in(foreign, FOREIGN_SOCKET, "a socket");
    } else {
        refuse_foreign(foreign, "a socket that is no end of a UNIX socketpair");
    }
}

static bool begins_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* What the kernel calls it, which it knows without asking anybody. */
static void look_at_link(struct foreign *foreign, const char *link)
{
    if (strcmp(link, "anon_inode:[eventfd]") == 0) {
        let_in(foreign, FOREIGN_EVENT, "an eventfd");
    } else if (begins_with(link, "pipe:[")) {
        let_in(foreign, FOREIGN_PIPE, "a pipe");
    } else if (begins_with(link, "socket:[")) {
        look_at_socket(foreign);
    } else if (begins_with(link, "/")) {
        look_at_file(foreign);
    } else {
        refuse_foreign(foreign, link);
    }
}

/* An eventfd is a file without a type then, as others are: no better is known. */
static void look_without_proc(struct foreign *foreign)
{
    struct stat st;

    if (fstat(foreign->fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
        look_at_socket(foreign);
    } else if (fstat(foreign->fd, &st) == 0 && (st.st_mode & S_IFMT) == 0) {
        let_in(foreign, FOREIGN_EVENT, "an eventfd");
    } else {
        look_at_file(foreign);
    }
}

/*
 * Seals are asked of the file and not of its file system, and only shmem and hugetlbfs have any.
 * Of the link in /proc the kernel tells what it knows itself.
 */
void foreign_look(struct foreign *foreign)
{
    int flags = fcntl(foreign->fd, F_GETFL);
    char path[48];
    char link[sizeof(foreign->what)];
    ssize_t len;

    if (flags < 0 || (flags & O_PATH)) {
        refuse_foreign(foreign, "a descriptor that was not opened for access");
        return;
    }
    if (fcntl(foreign->fd, F_GET_SEALS) >= 0) {
        let_in(foreign, FOREIGN_MEMORY, "shared memory");
        return;
    }
    (void)snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", foreign->fd);
    len = readlink(path, link, sizeof(link) - 1);
    link[len > 0 ? len : 0] = '\0';
    if (len < 0) {
        look_without_proc(foreign);
    } else {
        look_at_link(foreign, link);
    }
}
