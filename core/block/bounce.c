/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/block/bounce.h"

#include <errno.h>
#include <sys/mman.h>

int bounce_init(struct bounce *bounce)
{
    void *memory = mmap(NULL, BOUNCE_BUFFERS * (size_t)BOUNCE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED) {
        return -ENOMEM;
    }
    bounce->memory = memory;
    bounce->free_count = 0;
    for (unsigned i = 0; i < BOUNCE_BUFFERS; i++) {
        bounce_put(bounce, bounce->memory + i * (size_t)BOUNCE_BYTES);
    }
    return 0;
}

void bounce_fini(struct bounce *bounce)
{
    munmap(bounce->memory, BOUNCE_BUFFERS * (size_t)BOUNCE_BYTES);
    bounce->memory = NULL;
}

uint8_t *bounce_get(struct bounce *bounce)
{
    return bounce->free_count ? bounce->free[--bounce->free_count] : NULL;
}

void bounce_put(struct bounce *bounce, uint8_t *buffer)
{
    bounce->free[bounce->free_count++] = buffer;
}
