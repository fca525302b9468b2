/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/ram.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/vm/layout.h"

/* The KVM slots; memory is complete after this. */
static int add_slots(const struct ram *ram, struct kvm *kvm, struct err *err)
{
    int ret = kvm_add_memory(kvm, 0, ram->low, ram->host, err);

    if (ret == 0 && ram->high > 0) {
        ret = kvm_add_memory(kvm, LAYOUT_RAM_HIGH, ram->high, ram->host + ram->low, err);
    }
    return ret;
}

static int refuse_bytes(uint64_t bytes, struct err *err)
{
    int code = err_set(err, -errno, "cannot give the guest %lluM of memory",
                       (unsigned long long)bytes >> 20);

    err_hint(err, "give less by --memory");
    return code;
}

int ram_open(struct ram *ram, uint64_t bytes, struct kvm *kvm, struct err *err)
{
    int ret;

    memset(ram, 0, sizeof(*ram));
    ram->low = min_of(bytes, (uint64_t)LAYOUT_RAM_LOW_MAX);
    ram->high = bytes - ram->low;
    ram->fd = memfd_create("vblkvm", MFD_CLOEXEC);
    if (ram->fd < 0) {
        return err_set(err, -errno, "memfd_create");
    }
    if (ftruncate(ram->fd, (off_t)bytes) < 0) {
        ret = refuse_bytes(bytes, err);
        goto close_fd;
    }
    ram->host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
    if (ram->host == MAP_FAILED) {
        ret = refuse_bytes(bytes, err);
        goto close_fd;
    }
    /* A core dump of ours is nobody's way to the guest's memory. */
    (void)madvise(ram->host, bytes, MADV_DONTDUMP);
    ret = add_slots(ram, kvm, err);
    if (ret < 0) {
        goto unmap;
    }
    return 0;

unmap:
    munmap(ram->host, bytes);
close_fd:
    close(ram->fd);
    return ret;
}

void ram_close(struct ram *ram)
{
    munmap(ram->host, ram->low + ram->high);
    close(ram->fd);
}

void *ram_at(const struct ram *ram, uint64_t addr, uint64_t len)
{
    if (range_ok(addr, len, ram->low)) {
        return ram->host + addr;
    }
    if (addr >= LAYOUT_RAM_HIGH && range_ok(addr - LAYOUT_RAM_HIGH, len, ram->high)) {
        return ram->host + ram->low + (addr - LAYOUT_RAM_HIGH);
    }
    return NULL;
}
