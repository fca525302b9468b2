/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/kernel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/loop.h"
#include "tests/sim/sim.h"

/* ---- memory ---- */

/* Before each allocation; of the process's own they are on a list. */
struct block {
    struct block *next;
    struct block **at; /* NULL: it is not the process's */
    size_t bytes;
    size_t padding;
};

struct mapping {
    uint8_t *at;
    size_t bytes;
    int fd;
    uint64_t offset;
};

#define MAPPINGS 1024u

static struct block *blocks;
static struct mapping mappings[MAPPINGS];
static unsigned mapping_count;
static bool is_in_process;
static unsigned copies; /* of file descriptors that were handed in */

void *__real_malloc(size_t bytes);
void __real_free(void *at);
void *__real_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t bytes);
int __real_close(int fd);
ssize_t __real_readlink(const char *path, char *to, size_t bytes);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes);
void __wrap_free(void *at);
void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t bytes);
int __wrap_close(int fd);
int __wrap_fcntl(int fd, int command, ...);
ssize_t __wrap_readlink(const char *path, char *to, size_t bytes);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

void *__wrap_malloc(size_t bytes)
{
    struct block *block = __real_malloc(sizeof(*block) + bytes);

    assert(block);
    *block = (struct block){.bytes = bytes};
    if (is_in_process) {
        block->next = blocks;
        block->at = &blocks;
        if (blocks) {
            blocks->at = &block->next;
        }
        blocks = block;
    }
    return block + 1;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    void *at = __wrap_malloc(count * bytes);

    memset(at, 0, count * bytes);
    return at;
}

void __wrap_free(void *at)
{
    struct block *block;

    if (!at) {
        return;
    }
    block = (struct block *)at - 1;
    if (block->at) {
        *block->at = block->next;
        if (block->next) {
            block->next->at = block->at;
        }
    }
    __real_free(block);
}

void *__wrap_realloc(void *at, size_t bytes)
{
    void *to = __wrap_malloc(bytes);

    if (at) {
        memcpy(to, at, min_of(bytes, ((struct block *)at - 1)->bytes));
        __wrap_free(at);
    }
    return to;
}

void *__wrap_mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
    void *mapped = __real_mmap(at, bytes, prot, flags, fd, offset);

    if (is_in_process && mapped != MAP_FAILED) {
        assert(mapping_count < MAPPINGS);
        mappings[mapping_count++] =
            (struct mapping){.at = mapped, .bytes = bytes, .fd = fd, .offset = (uint64_t)offset};
    }
    return mapped;
}

static struct mapping *mapping_of(const volatile void *at)
{
    const volatile uint8_t *byte = at;

    for (unsigned i = mapping_count; i-- > 0;) {
        if (byte >= mappings[i].at && byte < mappings[i].at + mappings[i].bytes) {
            return &mappings[i];
        }
    }
    return NULL;
}

/* All of it, or from one of its ends. */
int __wrap_munmap(void *at, size_t bytes)
{
    struct mapping *mapping = mapping_of(at);

    if (!mapping || bytes == 0) {
        return __real_munmap(at, bytes);
    }
    assert(bytes <= mapping->bytes);
    if (bytes == mapping->bytes) {
        *mapping = mappings[--mapping_count];
    } else {
        if (mapping->at == at) {
            mapping->at += bytes;
        } else {
            assert(mapping->at + mapping->bytes == (uint8_t *)at + bytes);
        }
        mapping->bytes -= bytes;
    }
    return __real_munmap(at, bytes);
}

void kernel_enter(void)
{
    is_in_process = true;
}

void kernel_leave(void)
{
    is_in_process = false;
}

void kernel_kill(void)
{
    is_in_process = false;
    while (blocks) {
        __wrap_free(blocks + 1);
    }
    while (mapping_count > 0) {
        mapping_count--;
        __real_munmap(mappings[mapping_count].at, mappings[mapping_count].bytes);
    }
    copies = 0;
    loop_kill_all();
}

unsigned kernel_leaks(void)
{
    unsigned count = mapping_count + copies;

    for (const struct block *block = blocks; block; block = block->next) {
        count++;
    }
    return count;
}

int kernel_file_of(const volatile void *at, uint64_t *offset)
{
    const struct mapping *mapping = mapping_of(at);

    if (!mapping) {
        return -1;
    }
    *offset = mapping->offset + (uint64_t)((const volatile uint8_t *)at - mapping->at);
    return mapping->fd;
}

/* ---- eventfds ---- */

static struct {
    uint64_t count;
    bool is_pipe;
} fds[1024];

static unsigned fd_count;

void kernel_reset_fds(void)
{
    fd_count = 0;
}

int kernel_eventfd(bool is_pipe)
{
    assert(fd_count < ARRAY_SIZE(fds));
    fds[fd_count].count = 0;
    fds[fd_count].is_pipe = is_pipe;
    return KERNEL_FD + (int)fd_count++;
}

void kernel_signal(int fd)
{
    assert(fd >= KERNEL_FD && fd < KERNEL_FD + (int)fd_count);
    fds[fd - KERNEL_FD].count++;
    loop_signalled(fd);
}

uint64_t kernel_count(int fd)
{
    return fds[fd - KERNEL_FD].count;
}

uint64_t kernel_take(int fd)
{
    uint64_t count = fds[fd - KERNEL_FD].count;

    fds[fd - KERNEL_FD].count = 0;
    return count;
}

/* What the process keeps of a file that was handed in. */
#define COPY_FD 200000

int __wrap_fcntl(int fd, int command, ...)
{
    assert(command == F_DUPFD_CLOEXEC && is_in_process);
    copies++;
    return COPY_FD;
}

/* Those of ours stay: who gives one to the process gives a copy. */
int __wrap_close(int fd)
{
    copies -= fd == COPY_FD;
    return fd >= KERNEL_FD ? 0 : __real_close(fd);
}

ssize_t __wrap_readlink(const char *path, char *to, size_t bytes)
{
    int fd;
    const char *kind;

    if (sscanf(path, "/proc/self/fd/%d", &fd) != 1 || fd < KERNEL_FD) {
        return __real_readlink(path, to, bytes);
    }
    kind = fds[fd - KERNEL_FD].is_pipe ? "pipe:[1]" : "anon_inode:[eventfd]";
    memcpy(to, kind, min_of(bytes, strlen(kind)));
    return (ssize_t)min_of(bytes, strlen(kind));
}

/* ---- time ---- */

/* It goes on by itself, or a spin would never end. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    sim.now_ns += 50 + sim_draw(400);
    ts->tv_sec = (time_t)(sim.now_ns / NS_PER_S);
    ts->tv_nsec = (long)(sim.now_ns % NS_PER_S);
    if (is_in_process) {
        sim_meanwhile();
    }
    return 0;
}
