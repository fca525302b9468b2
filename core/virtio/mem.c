/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/virtio/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

_Thread_local unsigned mem_last;

/* Bytes that the regions of all disks take: the one word here that threads of several share. */
static _Atomic uint64_t mapped_by_all;

void mem_init(struct mem *mem)
{
    mem->count = 0;
    mem->mapped = 0;
    mem->log = (struct dirty_log){0};
    memset(&mem->log_region, 0, sizeof(mem->log_region));
    memset(&mem->inflight_region, 0, sizeof(mem->inflight_region));
}

#define TIB ((double)(1ull << 40))

/* What is about to be mapped, for people. */
struct mapped_name {
    char text[48];
};

/* Count `size` bytes of address space before they are mapped. */
static int reserve_bytes(struct mem *mem, const char *name, uint64_t size, struct err *err)
{
    uint64_t all;

    if (size > MEM_MAX_BYTES - mem->mapped) {
        err_say(
            err, -ENOMEM,
            "%s: with it the front-end would share %.1f TiB, %.0f TiB is the most; give the guest "
            "less memory",
            name, (double)(mem->mapped + size) / TIB, MEM_MAX_BYTES / TIB);
        return -ENOMEM;
    }
    all = atomic_fetch_add_explicit(&mapped_by_all, size, memory_order_relaxed) + size;
    if (all > MEM_MAX_BYTES_OF_ALL) {
        atomic_fetch_sub_explicit(&mapped_by_all, size, memory_order_relaxed);
        err_say(
            err, -ENOMEM,
            "%s: with it all front-ends together would share %.1f TiB, %.0f TiB is the most; end "
            "another guest, or serve some by another vblkd",
            name, (double)all / TIB, MEM_MAX_BYTES_OF_ALL / TIB);
        return -ENOMEM;
    }
    mem->mapped += size;
    return 0;
}

static void release_bytes(struct mem *mem, uint64_t size)
{
    mem->mapped -= size;
    atomic_fetch_sub_explicit(&mapped_by_all, size, memory_order_relaxed);
}

static void close_region_file(struct mem_region *region)
{
    if (region->fd >= 0) {
        close(region->fd);
    }
}

static void unmap_region(struct mem *mem, struct mem_region *region)
{
    munmap(region->map, region->map_size);
    close_region_file(region);
    release_bytes(mem, region->map_size);
}

void mem_clear(struct mem *mem)
{
    for (unsigned i = 0; i < mem->count; i++) {
        unmap_region(mem, &mem->region[i]);
    }
    mem->count = 0;
}

/* File offsets and lengths of a mapping are in pages; on hugetlbfs, in its huge pages. */
static uint64_t page_size_of(int fd)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0) {
        return (uint64_t)fs.f_bsize;
    }
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool range_wraps(uint64_t start, uint64_t size)
{
    return start + size < start;
}

static bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

static int check_layout(const struct mem *mem, const struct mem_layout *l, struct err *err)
{
    if (mem->count == MEM_MAX_REGIONS) {
        return err_say(err, -ENOSPC, "more than %u memory regions", MEM_MAX_REGIONS);
    }
    if (l->size == 0 || range_wraps(l->guest_addr, l->size) || range_wraps(l->user_addr, l->size) ||
        range_wraps(l->offset, l->size) || l->offset + l->size > INT64_MAX) {
        return err_say(err, -EINVAL,
                       "memory region at 0x%" PRIx64 ": size 0x%" PRIx64
                       " is zero or runs past the end of addresses",
                       l->guest_addr, l->size);
    }
    for (unsigned i = 0; i < mem->count; i++) {
        const struct mem_layout *other = &mem->region[i].layout;

        if (ranges_overlap(l->guest_addr, l->size, other->guest_addr, other->size) ||
            ranges_overlap(l->user_addr, l->size, other->user_addr, other->size)) {
            return err_say(err, -EEXIST,
                           "memory region at 0x%" PRIx64 " overlaps the one at 0x%" PRIx64,
                           l->guest_addr, other->guest_addr);
        }
    }
    if (mem->log.bits && !dirty_log_covers(&mem->log, l->guest_addr, l->size)) {
        return err_say(err, -EINVAL,
                       "memory region at 0x%" PRIx64
                       " lies past the end of the log of its migration, which has %" PRIu64
                       " bytes",
                       l->guest_addr, mem->log.bytes);
    }
    return 0;
}

/* Touching what a file does not have raises SIGBUS: better to refuse it now. */
static int check_file(const struct mem_layout *l, const char *name, int fd, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return err_set(err, -errno, "%s", name);
    }
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < l->offset + l->size) {
        err_say(err, -EINVAL, "%s: its file has %lld bytes, %" PRIu64 " are needed", name,
                (long long)st.st_size, l->offset + l->size);
        return -EINVAL;
    }
    return 0;
}

static int map_region(struct mem *mem, struct mem_region *region, const char *name, int fd,
                      struct err *err)
{
    const struct mem_layout *l = &region->layout;
    uint64_t page = page_size_of(fd);
    uint64_t start = round_down(l->offset, page);
    uint64_t size = round_up(l->offset - start + l->size, page);
    int ret = reserve_bytes(mem, name, size, err);
    void *map;

    if (ret < 0) {
        return ret;
    }
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
    if (map == MAP_FAILED) {
        ret = -errno;
        release_bytes(mem, size);
        err_set(err, ret, "%s: cannot map %" PRIu64 " bytes of its file", name, size);
        err_hint(err, ret == -ENOMEM ? "raise vm.max_map_count, or the limit of address space"
                                     : "guest memory must be shared and writable (QEMU: "
                                       "memory-backend-memfd,share=on)");
        return ret;
    }
    /* A core dump of the daemon is nobody's way to a guest's memory. */
    (void)madvise(map, size, MADV_DONTDUMP);
    region->map = map;
    region->map_size = size;
    region->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* without it the mapping does as well */
    region->host = (uint8_t *)map + (l->offset - start);
    return 0;
}

static struct mapped_name name_of(const struct mem_layout *layout)
{
    struct mapped_name name;

    (void)snprintf(name.text, sizeof(name.text), "memory region at 0x%" PRIx64,
                   layout->guest_addr); /* fits */
    return name;
}

static void insert_region(struct mem *mem, const struct mem_region *region)
{
    unsigned at = mem->count;

    while (at > 0 && mem->region[at - 1].layout.guest_addr > region->layout.guest_addr) {
        mem->region[at] = mem->region[at - 1];
        at--;
    }
    mem->region[at] = *region;
    mem->count++;
}

int mem_add(struct mem *mem, const struct mem_layout *layout, int fd, struct err *err)
{
    struct mem_region region = {.layout = *layout};
    struct mapped_name name = name_of(layout);
    int ret = check_layout(mem, layout, err);

    if (ret == 0) {
        ret = check_file(layout, name.text, fd, err);
    }
    if (ret == 0) {
        ret = map_region(mem, &region, name.text, fd, err);
    }
    if (ret == 0) {
        insert_region(mem, &region);
    }
    return ret;
}

int mem_remove(struct mem *mem, const struct mem_layout *layout, struct err *err)
{
    for (unsigned i = 0; i < mem->count; i++) {
        struct mem_region *region = &mem->region[i];

        if (region->layout.guest_addr == layout->guest_addr &&
            region->layout.user_addr == layout->user_addr && region->layout.size == layout->size) {
            unmap_region(mem, region);
            mem->count--;
            memmove(region, region + 1, sizeof(*region) * (mem->count - i));
            return 0;
        }
    }
    return err_say(err, -ENOENT, "no memory region at 0x%" PRIx64 " of 0x%" PRIx64 " bytes",
                   layout->guest_addr, layout->size);
}

static bool is_region_lost(const struct mem_region *region)
{
    return atomic_load_explicit(&region->is_lost, memory_order_relaxed);
}

bool mem_is_lost(const struct mem *mem)
{
    for (unsigned i = 0; i < mem->count; i++) {
        if (is_region_lost(&mem->region[i])) {
            return true;
        }
    }
    return is_region_lost(&mem->log_region) || is_region_lost(&mem->inflight_region);
}

const char *mem_why_lost(const struct mem *mem)
{
    return is_region_lost(&mem->log_region)        ? MEM_LOG_LOST
           : is_region_lost(&mem->inflight_region) ? MEM_INFLIGHT_LOST
                                                   : MEM_LOST;
}

static bool region_holds(const struct mem_region *region, uint64_t addr)
{
    return addr - region->layout.guest_addr < region->layout.size;
}

/* Binary search: the last region that starts at or below `addr`, if it reaches that far. */
static struct mem_region *search_region(struct mem *mem, uint64_t addr)
{
    unsigned low = 0, high = mem->count;

    while (low < high) {
        unsigned mid = (low + high) >> 1;

        if (mem->region[mid].layout.guest_addr <= addr) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == 0 || !region_holds(&mem->region[low - 1], addr)) {
        return NULL;
    }
    mem_last = low - 1;
    return &mem->region[low - 1];
}

void *mem_piece(struct mem *mem, uint64_t addr, uint64_t *len)
{
    struct mem_region *region = &mem->region[mem_last];
    uint64_t into;

    if (mem_last >= mem->count || !region_holds(region, addr)) {
        region = search_region(mem, addr);
        if (!region) {
            return NULL;
        }
    }
    into = addr - region->layout.guest_addr;
    *len = min_of(*len, region->layout.size - into);
    return region->host + into;
}

void *mem_at(struct mem *mem, uint64_t addr, uint64_t len)
{
    uint64_t piece = len;
    void *at = mem_piece(mem, addr, &piece);

    return piece == len ? at : NULL;
}

void *mem_at_user(struct mem *mem, uint64_t user_addr, uint64_t len)
{
    for (unsigned i = 0; i < mem->count; i++) {
        struct mem_region *region = &mem->region[i];
        uint64_t into = user_addr - region->layout.user_addr;

        if (into < region->layout.size && len <= region->layout.size - into) {
            return region->host + into;
        }
    }
    return NULL;
}

bool mem_read(struct mem *mem, uint64_t addr, void *to, size_t len)
{
    while (len > 0) {
        uint64_t piece = len;
        const void *from = mem_piece(mem, addr, &piece);

        if (!from) {
            return false;
        }
        copy_once(to, from, piece);
        to = (uint8_t *)to + piece;
        addr += piece;
        len -= piece;
    }
    return true;
}

/* ---- logs ---- */

#define LOG_NAME "the log of a migration"
#define INFLIGHT_NAME "the log of requests in flight"

static int check_log(const struct mem *mem, uint64_t bytes, struct err *err)
{
    const struct dirty_log log = {.bytes = bytes};

    for (unsigned i = 0; i < mem->count; i++) {
        const struct mem_layout *l = &mem->region[i].layout;

        if (!dirty_log_covers(&log, l->guest_addr, l->size)) {
            return err_say(err, -EINVAL,
                           LOG_NAME ": with %" PRIu64
                                    " bytes it ends before the memory region at 0x%" PRIx64 " does",
                           bytes, l->guest_addr);
        }
    }
    return 0;
}

static void close_apart(struct mem *mem, struct mem_region *apart)
{
    if (apart->host) {
        unmap_region(mem, apart);
        memset(apart, 0, sizeof(*apart));
    }
}

static int check_apart(const struct mem_region *wanted, uint64_t max, const char *name,
                       struct err *err)
{
    const struct mem_layout *l = &wanted->layout;

    if (l->size == 0 || l->size > max || range_wraps(l->offset, l->size) ||
        l->offset + l->size > INT64_MAX) {
        return err_say(err, -EINVAL, "%s: %" PRIu64 " bytes instead of 1 to %" PRIu64, name,
                       l->size, max);
    }
    return 0;
}

/* Map a region that is in no table, and give up what it had. */
static int open_apart(struct mem *mem, struct mem_region *apart, const struct mem_region *wanted,
                      const char *name, int fd, struct err *err)
{
    struct mem_region region = *wanted;
    int ret = check_file(&region.layout, name, fd, err);

    if (ret == 0) {
        ret = map_region(mem, &region, name, fd, err);
    }
    if (ret == 0) {
        close_apart(mem, apart);
        *apart = region;
    }
    return ret;
}

int mem_log_open(struct mem *mem, uint64_t bytes, uint64_t offset, int fd, struct err *err)
{
    const struct mem_region wanted = {.layout = {.size = bytes, .offset = offset}};
    int ret = check_apart(&wanted, DIRTY_LOG_MAX_BYTES, LOG_NAME, err);

    if (ret == 0) {
        ret = check_log(mem, bytes, err);
    }
    if (ret == 0) {
        ret = open_apart(mem, &mem->log_region, &wanted, LOG_NAME, fd, err);
    }
    if (ret == 0) {
        mem->log = (struct dirty_log){.bits = mem->log_region.host, .bytes = bytes};
    }
    return ret;
}

void mem_log_close(struct mem *mem)
{
    close_apart(mem, &mem->log_region);
    mem->log = (struct dirty_log){0};
}

int mem_inflight_open(struct mem *mem, uint64_t bytes, uint64_t offset, int fd, struct err *err)
{
    const struct mem_region wanted = {.layout = {.size = bytes, .offset = offset}};

    int ret = check_apart(&wanted, INFLIGHT_MAX_BYTES, INFLIGHT_NAME, err);

    return ret < 0 ? ret : open_apart(mem, &mem->inflight_region, &wanted, INFLIGHT_NAME, fd, err);
}

void mem_inflight_close(struct mem *mem)
{
    close_apart(mem, &mem->inflight_region);
}

static bool region_has(const struct mem_region *region, const void *at)
{
    return (uint64_t)((const uint8_t *)at - region->host) < region->layout.size;
}

void mem_mark(const struct mem *mem, const void *at, uint64_t len)
{
    unsigned i = mem_last;

    if (i >= mem->count || !region_has(&mem->region[i], at)) {
        for (i = 0; i < mem->count && !region_has(&mem->region[i], at); i++) {
        }
    }
    if (i < mem->count) {
        const struct mem_region *region = &mem->region[i];

        dirty_log_mark(&mem->log,
                       region->layout.guest_addr + (uint64_t)((const uint8_t *)at - region->host),
                       len);
    }
}
