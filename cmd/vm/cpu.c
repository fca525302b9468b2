/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/cpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "cmd/vm/layout.h"

#define CPUID_ENTRIES 256u

/* Of a processor that does not tell. */
#define ADDRESS_BITS_DEFAULT 36u

/* Segments of the boot protocol's 64-bit entry: __BOOT_CS and __BOOT_DS. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define TYPE_CODE 11 /* read, executed, accessed */
#define TYPE_DATA 3

#define CR0_LONG 0x80000001ull /* paging, protection */
#define CR4_PAE 0x20ull
#define EFER_LONG 0x500ull /* long mode, active */
#define FLAGS_RESERVED 2ull

/* Memory is write-back where nothing else is said.  Source: Intel SDM, volume 3, 12.11. */
#define MSR_MTRR_DEFAULT 0x2ffu
#define MTRR_ON_WRITE_BACK 0x806u

/*
 * Each processor has its own number, here and there; the rest is the host's.
 * Source: Intel SDM, volume 2, CPUID; AMD APM, volume 3, appendix E (0x8000001e).
 */
static void number_processor(struct kvm_cpuid_entry2 *entry, const struct cpu_start *start)
{
    switch (entry->function) {
    case 0x1:
        entry->ebx = (entry->ebx & 0xff00ffff) | (start->count & 0xff) << 16;
        entry->ebx = (entry->ebx & 0x00ffffff) | start->index << 24;
        break;
    case 0xb:
    case 0x1f:
        entry->edx = start->index;
        break;
    case 0x8000001e:
        entry->eax = start->index;
        break;
    default:
        break;
    }
}

/* What KVM offers; the caller frees it. */
static int supported_cpuid(int kvm_fd, struct kvm_cpuid2 **out, struct err *err)
{
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));

    if (!cpuid) {
        return err_set(err, -ENOMEM, "CPUID");
    }
    cpuid->nent = CPUID_ENTRIES;
    if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
        int code = err_set(err, -errno, "KVM_GET_SUPPORTED_CPUID");

        free(cpuid);
        return code;
    }
    *out = cpuid;
    return 0;
}

/* Source: AMD APM, volume 3, appendix E (0x80000008); Intel SDM, volume 2, CPUID. */
int cpu_address_bits(int kvm_fd, unsigned *bits, struct err *err)
{
    struct kvm_cpuid2 *cpuid;
    int ret = supported_cpuid(kvm_fd, &cpuid, err);

    if (ret < 0) {
        return ret;
    }
    *bits = ADDRESS_BITS_DEFAULT;
    for (unsigned i = 0; i < cpuid->nent; i++) { /* NOLINT: read before */
        if (cpuid->entries[i].function == 0x80000008) {
            *bits = cpuid->entries[i].eax & 0xff;
        }
    }
    free(cpuid);
    return 0;
}

static int set_cpuid(const struct cpu_start *start, struct err *err)
{
    struct kvm_cpuid2 *cpuid;
    int ret = supported_cpuid(start->kvm_fd, &cpuid, err);

    if (ret < 0) {
        return ret;
    }
    for (unsigned i = 0; i < cpuid->nent; i++) { /* NOLINT: read before */
        number_processor(&cpuid->entries[i], start);
    }
    if (ioctl(start->fd, KVM_SET_CPUID2, cpuid) < 0) {
        ret = err_set(err, -errno, "KVM_SET_CPUID2");
    }
    free(cpuid);
    return ret;
}

static int set_segments(int fd, struct err *err)
{
    struct kvm_segment code = {.limit = 0xffffffff,
                               .selector = BOOT_CS,
                               .type = TYPE_CODE,
                               .present = 1,
                               .s = 1,
                               .l = 1,
                               .g = 1};
    struct kvm_segment data = {.limit = 0xffffffff,
                               .selector = BOOT_DS,
                               .type = TYPE_DATA,
                               .present = 1,
                               .s = 1,
                               .db = 1,
                               .g = 1};
    struct kvm_sregs sregs;

    if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0) {
        return err_set(err, -errno, "KVM_GET_SREGS");
    }
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.gdt.base = LAYOUT_GDT;
    sregs.gdt.limit = 4 * 8 - 1;
    sregs.cr3 = LAYOUT_PAGE_TABLES;
    sregs.cr4 |= CR4_PAE;
    sregs.cr0 |= CR0_LONG;
    sregs.efer |= EFER_LONG;
    return ioctl(fd, KVM_SET_SREGS, &sregs) < 0 ? err_set(err, -errno, "KVM_SET_SREGS") : 0;
}

static int set_entry(const struct cpu_start *start, struct err *err)
{
    struct kvm_regs regs = {
        .rip = start->entry,
        .rsi = LAYOUT_BOOT_PARAMS,
        .rsp = LAYOUT_BOOT_PARAMS,
        .rflags = FLAGS_RESERVED,
    };

    return ioctl(start->fd, KVM_SET_REGS, &regs) < 0 ? err_set(err, -errno, "KVM_SET_REGS") : 0;
}

/* Firmware's part.  Refused where there is no such register, which is as well. */
static void set_memory_type(int fd)
{
    /* A header with a flexible array of one behind it. */
    union {
        struct kvm_msrs head;
        uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
    } msrs = {.head.nmsrs = 1};

    msrs.head.entries[0] =
        (struct kvm_msr_entry){.index = MSR_MTRR_DEFAULT, .data = MTRR_ON_WRITE_BACK};
    (void)ioctl(fd, KVM_SET_MSRS, &msrs);
}

int cpu_setup(const struct cpu_start *start, struct err *err)
{
    int ret = set_cpuid(start, err);

    if (ret < 0) {
        return ret;
    }
    set_memory_type(start->fd);
    if (start->index > 0) {
        return 0;
    }
    ret = set_segments(start->fd, err);
    return ret < 0 ? ret : set_entry(start, err);
}
