/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/bench/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

/* Since Linux 6.1; the C library's headers may be older. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* A mapping at a multiple of SHARED_ALIGN: map more, and give back the rest. */
static uint8_t *map_aligned(int fd, uint64_t bytes)
{
    uint8_t *room = mmap(NULL, bytes + SHARED_ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *place;

    if (room == MAP_FAILED) {
        return NULL;
    }
    place = room + (round_up((uintptr_t)room, SHARED_ALIGN) - (uintptr_t)room);
    if (place > room) {
        (void)munmap(room, (size_t)(place - room));
    }
    (void)munmap(place + bytes, (size_t)(room + SHARED_ALIGN - place));
    return mmap(place, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED
               ? NULL
               : place;
}

/* What does not compress: some disks store less of what does, and faster. */
static void scramble(uint8_t *memory, uint64_t bytes)
{
    uint64_t value = 88172645463325252ull;

    for (uint64_t at = 0; at < bytes; at += sizeof(value)) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        memcpy(memory + at, &value, sizeof(value));
    }
}

static int explain_collapse(const struct shared *shared, int code, struct err *err)
{
    (void)err_set(err, code, "cannot put %" PRIu64 " bytes of shared memory in huge pages",
                  shared->bytes);
    if (code == -EINVAL) {
        err_hint(err, "it takes Linux 6.1 or newer with transparent huge pages, and no \"deny\" in "
                      "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    } else {
        err_hint(err, "try again with more free memory, a smaller --iodepth, or without "
                      "--huge-pages");
    }
    return code;
}

/* At once, and whatever the system's policy is, but for "deny".  Pages have to be there. */
static int collapse(const struct shared *shared, struct err *err)
{
    int ret = madvise(shared->memory, shared->bytes, MADV_COLLAPSE);

    if (ret < 0 && errno == EAGAIN) { /* somebody looked at one of the pages */
        ret = madvise(shared->memory, shared->bytes, MADV_COLLAPSE);
    }
    return ret < 0 ? explain_collapse(shared, -errno, err) : 0;
}

/* Its size stays: a back-end that cut it off would end us by SIGBUS. */
static bool make_file(struct shared *shared, uint64_t bytes)
{
    shared->fd = memfd_create("vblkbench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return shared->fd >= 0 && ftruncate(shared->fd, (off_t)bytes) == 0 &&
           fcntl(shared->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

int shared_open(struct shared *shared, uint64_t bytes, bool is_huge, struct err *err)
{
    if (make_file(shared, bytes)) {
        shared->memory = map_aligned(shared->fd, bytes);
    }
    if (!shared->memory) {
        return err_set(err, -errno, "%" PRIu64 " bytes of shared memory", bytes);
    }
    shared->bytes = bytes;
    (void)madvise(shared->memory, bytes, MADV_HUGEPAGE); /* a system without them is no error */
    scramble(shared->memory, bytes);
    return is_huge ? collapse(shared, err) : 0;
}

void shared_close(struct shared *shared)
{
    if (shared->memory) {
        (void)munmap(shared->memory, shared->bytes);
    }
    if (shared->fd >= 0) {
        close(shared->fd);
    }
}
