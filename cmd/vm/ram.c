/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/common/size.h"
#include "cmd/vm/layout.h"

/* `err` says what stood in the way. */
static int refuse_bytes(uint64_t bytes, int code, struct err *err)
{
    char size[SIZE_TEXT_BYTES];
    struct err why = *err;

    (void)err_say(err, code, "cannot give the guest %s of memory: %s", size_format(bytes, size),
                  why.text);
    err_hint(err, "give less by --memory");
    return code;
}

int ram_check(uint64_t bytes, unsigned address_bits, struct err *err)
{
    uint64_t end = address_bits < 64 ? 1ull << address_bits : UINT64_MAX;
    uint64_t most = end > LAYOUT_RAM_HIGH ? LAYOUT_RAM_LOW_MAX + (end - LAYOUT_RAM_HIGH)
                                          : min_of(end, LAYOUT_RAM_LOW_MAX);
    char reach[SIZE_TEXT_BYTES];

    if (bytes <= most) {
        return 0;
    }
    (void)err_say(err, -EINVAL, "the processors of this host reach %s", size_format(most, reach));
    return refuse_bytes(bytes, -EINVAL, err);
}

int ram_show(const struct ram *ram, struct kvm *kvm, struct err *err)
{
    int ret = kvm_add_memory(kvm, 0, ram->low, ram->host, err);

    if (ret == 0 && ram->high > 0) {
        ret = kvm_add_memory(kvm, LAYOUT_RAM_HIGH, ram->high, ram->host + ram->low, err);
    }
    return ret < 0 ? refuse_bytes(ram->low + ram->high, ret, err) : 0;
}

/* Its size stays: a back-end that cut it off would end us by SIGBUS. */
static bool make_file(struct ram *ram, uint64_t bytes)
{
    ram->fd = memfd_create("vblkvm", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return ram->fd >= 0 && ftruncate(ram->fd, (off_t)bytes) == 0 &&
           fcntl(ram->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

int ram_open(struct ram *ram, uint64_t bytes, struct err *err)
{
    int ret;

    memset(ram, 0, sizeof(*ram));
    ram->low = min_of(bytes, (uint64_t)LAYOUT_RAM_LOW_MAX);
    ram->high = bytes - ram->low;
    ram->host = MAP_FAILED;
    if (make_file(ram, bytes)) {
        ram->host =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
    }
    if (ram->host == MAP_FAILED) {
        ret = refuse_bytes(bytes, err_set(err, -errno, "shared memory"), err);
        if (ram->fd >= 0) {
            close(ram->fd);
        }
        return ret;
    }
    /* A core dump of ours is nobody's way to the guest's memory. */
    (void)madvise(ram->host, bytes, MADV_DONTDUMP);
    return 0;
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
