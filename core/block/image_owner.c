/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/image_owner.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct owned_fd {
    struct owned_fd *next;
    int fd;
    char owner[IMAGE_OWNER_BYTES];
};

static pthread_mutex_t owners_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct owned_fd *owned_fds; /* under the mutex, each from malloc */

/* The link to it, or to the end.  Under the mutex. */
static struct owned_fd **find_owned(int fd)
{
    struct owned_fd **link = &owned_fds;

    while (*link && (*link)->fd != fd) {
        link = &(*link)->next;
    }
    return link;
}

/* Without memory nobody is told of it. */
void image_owner_set(int fd, const char *owner)
{
    struct owned_fd *new = owner ? malloc(sizeof(*new)) : NULL;
    struct owned_fd **link, *old;

    pthread_mutex_lock(&owners_mutex);
    link = find_owned(fd);
    old = *link;
    if (old) {
        *link = old->next;
    }
    if (new) {
        *new = (struct owned_fd){.next = owned_fds, .fd = fd};
        (void)snprintf(new->owner, sizeof(new->owner), "%s", owner);
        owned_fds = new;
    }
    pthread_mutex_unlock(&owners_mutex);
    free(old);
}

bool image_owner_find(int fd, char owner[IMAGE_OWNER_BYTES])
{
    const struct owned_fd *found;

    pthread_mutex_lock(&owners_mutex);
    found = *find_owned(fd);
    if (found) {
        (void)snprintf(owner, IMAGE_OWNER_BYTES, "%s", found->owner);
    }
    pthread_mutex_unlock(&owners_mutex);
    return found != NULL;
}
