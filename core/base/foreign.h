/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A file descriptor that a front-end handed in, and what it is.  Whoever touches a file of FUSE or
 * of a network waits for its server, and a front-end can be that server: for fstat, fstatfs, mmap,
 * close, epoll, and a page fault, which holds up the whole process.  So only what never waits for
 * somebody else is let in, and what is not known yet is looked at by a porter (porter.h), who has
 * nothing else to do.
 * Owned by whoever has the struct.
 */

enum foreign_kind {
    FOREIGN_REFUSED, /* `what` says what it is */
    FOREIGN_EVENT,   /* an eventfd */
    FOREIGN_PIPE,
    FOREIGN_SOCKET, /* one end of a UNIX socketpair; nothing can be sent to it any more */
    FOREIGN_MEMORY, /* memfd, tmpfs, hugetlbfs */
    FOREIGN_FILE,   /* a file of a local file system, or a DAX device */
};

struct foreign {
    int fd; /* -1: not let in, or taken */
    enum foreign_kind kind;
    char what[64]; /* for people: "a file on NFS" */
};

/*
 * Find out what foreign->fd is, and say so in the other members.
 * Waits for the server of its file system, perhaps for ever.  Thread: a porter's.
 */
void foreign_look(struct foreign *foreign);
