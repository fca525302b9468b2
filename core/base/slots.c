/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/base/slots.h"

#include <errno.h>
#include <sys/mman.h>

int slots_init(struct slots *slots, size_t bytes, unsigned count)
{
    size_t stride = round_up(bytes, CACHE_LINE);
    void *memory =
        mmap(NULL, stride * count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        return -ENOMEM;
    }
    /* A huge page under the first slot would cost as much as thousands of them. */
    (void)madvise(memory, stride * count, MADV_NOHUGEPAGE); /* kernels without them refuse */
    *slots = (struct slots){.memory = memory, .stride = stride, .count = count};
    return 0;
}

void slots_fini(struct slots *slots)
{
    if (slots->memory) {
        munmap(slots->memory, slots->stride * slots->count);
    }
    *slots = (struct slots){0};
}

void *slots_next_taken(const struct slots *slots, unsigned *at)
{
    while (*at < slots->fresh) {
        struct slot *slot = (struct slot *)(slots->memory + slots->stride * (*at)++);

        if (slot->next == slot) {
            return slot;
        }
    }
    return NULL;
}
