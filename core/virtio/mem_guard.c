/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/virtio/mem.h"

/*
 * The disk thread's own memory map: the handler runs on the thread that touched the lost
 * page, so no other thread ever looks at these.
 */
static _Thread_local struct mem *watched;
static _Thread_local volatile sig_atomic_t is_tripped;

static bool maps_addr(const struct mem_region *region, const uint8_t *addr)
{
    return (size_t)(addr - (uint8_t *)region->map) < region->map_size;
}

static struct mem_region *region_of(const uint8_t *addr)
{
    for (unsigned i = 0; watched && i < watched->count; i++) {
        if (maps_addr(&watched->region[i], addr)) {
            return &watched->region[i];
        }
    }
    if (watched && maps_addr(&watched->log_region, addr)) {
        return &watched->log_region;
    }
    return watched && maps_addr(&watched->inflight_region, addr) ? &watched->inflight_region : NULL;
}

/*
 * Put private zero pages where the file ended, over the whole region: what the guest has
 * thrown away must not fault a second time.  Another thread of the disk may touch the region
 * meanwhile, or do the same: the kernel lets it wait until the pages are there.  It is no write
 * for the other threads to be ordered with, hence the bare system call: the thread sanitizer
 * takes mmap for one.  A SIGBUS that is not ours ends the process, as it would have without us.
 */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    struct mem_region *region = region_of(info->si_addr);

    if (region && syscall(SYS_mmap, region->map, region->map_size, PROT_READ | PROT_WRITE,
                          MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != -1) {
        atomic_store_explicit(&region->is_lost, true, memory_order_relaxed);
        is_tripped = 1;
        return;
    }
    signal(sig, SIG_DFL);
}

void mem_guard_install(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

void mem_guard_watch(struct mem *mem)
{
    watched = mem;
    is_tripped = 0;
}

bool mem_guard_take(void)
{
    bool was_tripped = is_tripped != 0;

    is_tripped = 0;
    return was_tripped;
}
