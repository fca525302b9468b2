/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/vm/layout.h"
#include "transports/vmm/pci_host.h"

#define MAGIC 0x53726448u /* "HdrS" */
#define BOOT_FLAG 0xaa55u
#define VERSION_64 0x020cu /* the first that tells of a 64-bit entry */
#define ENTRY_64 0x200u
#define LOADER_UNKNOWN 0xffu
#define SECTS_DEFAULT 4u
#define COMMAND_LINE_MAX 65536u

#define HEADER_AT offsetof(struct boot_params, hdr)

#define E820_MEMORY 1u
#define E820_RESERVED 2u

#define PAGE 4096u
#define PTE_TABLE 0x03u /* present, writable */
#define PTE_LARGE 0x83u

struct file {
    const char *path;
    int fd;
    uint64_t bytes;
};

static int check_kind(const struct file *file, const struct stat *st, struct err *err)
{
    if (S_ISREG(st->st_mode)) {
        return 0;
    }
    return err_say(err, -EINVAL, "%s is a %s, not a regular file", file->path,
                   S_ISDIR(st->st_mode)    ? "directory"
                   : S_ISFIFO(st->st_mode) ? "FIFO"
                   : S_ISSOCK(st->st_mode) ? "socket"
                                           : "device");
}

/*
 * Looked at before, as opening a device may do something; and opened without waiting, as another
 * may stand there meanwhile.
 */
static int file_open(struct file *file, const char *path, struct err *err)
{
    struct stat st;
    int ret;

    *file = (struct file){.path = path, .fd = -1};
    if (stat(path, &st) < 0) {
        return err_set(err, -errno, "cannot open %s", path);
    }
    ret = check_kind(file, &st, err);
    if (ret < 0) {
        return ret;
    }
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0 || fstat(file->fd, &st) < 0) {
        ret = err_set(err, -errno, "cannot open %s", path);
    } else {
        ret = check_kind(file, &st, err);
    }
    if (ret < 0 && file->fd >= 0) {
        close(file->fd);
    }
    file->bytes = (uint64_t)st.st_size;
    return ret;
}

static int file_read(const struct file *file, void *to, uint64_t len, uint64_t offset,
                     struct err *err)
{
    uint64_t done = 0;

    while (done < len) {
        ssize_t count = pread(file->fd, (char *)to + done, len - done, (off_t)(offset + done));

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return err_set(err, count < 0 ? -errno : -EIO, "cannot read %s", file->path);
        }
        done += (uint64_t)count;
    }
    return 0;
}

/* The header goes into boot_params as far as its own length reaches (byte 0x201). */
static int read_header(const struct file *file, struct boot_params *params, struct err *err)
{
    struct boot_params found = {0};
    size_t end;

    if (file->bytes < sizeof(found)) {
        return err_say(err, -EINVAL, "%s is not a bzImage: too short", file->path);
    }
    if (file_read(file, &found, sizeof(found), 0, err) < 0) {
        return -EIO;
    }
    if (found.hdr.header != MAGIC || found.hdr.boot_flag != BOOT_FLAG) {
        (void)err_say(err, -EINVAL, "%s is not a bzImage", file->path);
        err_hint(err, "vblkvm boots the vmlinuz of a distribution");
        return -EINVAL;
    }
    if (found.hdr.version < VERSION_64 || !(found.hdr.xloadflags & XLF_KERNEL_64)) {
        return err_say(err, -EINVAL, "%s has no 64-bit entry", file->path);
    }
    end = 0x202 + (found.hdr.jump >> 8);
    memcpy(&params->hdr, &found.hdr, min_of(end - HEADER_AT, sizeof(found.hdr)));
    return 0;
}

/* What the kernel needs from where it unpacks itself, or at least its file. */
static uint64_t kernel_end(const struct setup_header *header, uint64_t file_bytes)
{
    uint64_t start = header->pref_address > LAYOUT_KERNEL ? header->pref_address : LAYOUT_KERNEL;
    uint64_t unpacked = start + header->init_size;

    if (unpacked < start) {
        return UINT64_MAX;
    }
    return unpacked > LAYOUT_KERNEL + file_bytes ? unpacked : LAYOUT_KERNEL + file_bytes;
}

/* `most`: where more memory does not help. */
static int refuse_memory(const struct ram *ram, const struct file *file, uint64_t need,
                         uint64_t most, struct err *err)
{
    if (need > most) {
        return err_say(err, -EFBIG, "%s does not fit: it has to lie below %lluM", file->path,
                       (unsigned long long)(most >> 20));
    }
    (void)err_say(err, -ENOMEM, "%s does not fit: %lluM of memory are too little", file->path,
                  (unsigned long long)((ram->low + ram->high) >> 20));
    err_hint(err, "give at least --memory %lluM",
             (unsigned long long)(round_up(need, 16u << 20) >> 20));
    return -ENOMEM;
}

/* Returns the end of what the kernel uses in `*end`. */
static int load_kernel(const struct ram *ram, const struct file *file, struct boot_params *params,
                       uint64_t *end, struct err *err)
{
    unsigned sects = params->hdr.setup_sects ? params->hdr.setup_sects : SECTS_DEFAULT;
    uint64_t offset = (sects + 1) * (uint64_t)SECTOR_SIZE;
    void *to;

    if (file->bytes <= offset) {
        return err_say(err, -EINVAL, "%s is not a bzImage: it ends early", file->path);
    }
    *end = kernel_end(&params->hdr, file->bytes - offset);
    to = ram_at(ram, LAYOUT_KERNEL, file->bytes - offset);
    if (!to || *end > ram->low) {
        return refuse_memory(ram, file, *end, LAYOUT_RAM_LOW_MAX, err);
    }
    return file_read(file, to, file->bytes - offset, offset, err);
}

/* As high as it may be, so that the kernel has room to unpack. */
static int load_initrd(const struct ram *ram, const struct file *file, struct boot_params *params,
                       uint64_t lowest, struct err *err)
{
    uint64_t most = min_of((uint64_t)LAYOUT_RAM_LOW_MAX, (uint64_t)params->hdr.initrd_addr_max + 1);
    uint64_t limit = min_of(ram->low, most);
    uint64_t addr;

    if (file->bytes > limit || round_down(limit - file->bytes, PAGE) < lowest) {
        return refuse_memory(ram, file, lowest + file->bytes + PAGE, most, err);
    }
    addr = round_down(limit - file->bytes, PAGE);
    params->hdr.ramdisk_image = (uint32_t)addr;
    params->hdr.ramdisk_size = (uint32_t)file->bytes;
    return file_read(file, ram_at(ram, addr, file->bytes), file->bytes, 0, err);
}

static void add_range(struct boot_params *params, uint64_t addr, uint64_t end, uint32_t type)
{
    struct boot_e820_entry *entry = &params->e820_table[params->e820_entries];

    if (end > addr) {
        *entry = (struct boot_e820_entry){.addr = addr, .size = end - addr, .type = type};
        params->e820_entries++;
    }
}

static void fill_memory_map(const struct ram *ram, struct boot_params *params)
{
    add_range(params, 0, LAYOUT_LOW_END, E820_MEMORY);
    add_range(params, LAYOUT_LOW_END, LAYOUT_KERNEL, E820_RESERVED);
    add_range(params, LAYOUT_KERNEL, ram->low, E820_MEMORY);
    add_range(params, LAYOUT_ECAM, LAYOUT_ECAM + PCI_ECAM_BYTES, E820_RESERVED);
    add_range(params, LAYOUT_IOAPIC, LAYOUT_RAM_HIGH, E820_RESERVED);
    add_range(params, LAYOUT_RAM_HIGH, LAYOUT_RAM_HIGH + ram->high, E820_MEMORY);
}

static int fill_command_line(const struct ram *ram, const char *text, struct boot_params *params,
                             struct err *err)
{
    size_t len = strlen(text);

    if (len > params->hdr.cmdline_size || len >= COMMAND_LINE_MAX) {
        return err_say(err, -E2BIG, "the command line has %zu bytes, this kernel takes %u", len,
                       params->hdr.cmdline_size);
    }
    memcpy(ram_at(ram, LAYOUT_COMMAND_LINE, len + 1), text, len + 1);
    params->hdr.cmd_line_ptr = LAYOUT_COMMAND_LINE;
    return 0;
}

/* Flat segments at the selectors which the boot protocol names. */
static void fill_gdt(const struct ram *ram)
{
    static const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};

    memcpy(ram_at(ram, LAYOUT_GDT, sizeof(gdt)), gdt, sizeof(gdt));
}

/* The first 4 GiB one to one, in pages of 2 MiB. */
static void fill_page_tables(const struct ram *ram)
{
    uint64_t *pml4 = ram_at(ram, LAYOUT_PAGE_TABLES, 6 * PAGE);
    uint64_t *pdpt = pml4 + 512;
    uint64_t *pd = pdpt + 512;

    pml4[0] = (LAYOUT_PAGE_TABLES + PAGE) | PTE_TABLE;
    for (uint64_t i = 0; i < 4; i++) {
        pdpt[i] = (LAYOUT_PAGE_TABLES + (2 + i) * PAGE) | PTE_TABLE;
    }
    for (uint64_t i = 0; i < 4 * 512; i++) {
        pd[i] = i << 21 | PTE_LARGE;
    }
}

static int load_files(const struct ram *ram, const struct boot_options *options,
                      const struct file *kernel, struct boot_params *params, struct err *err)
{
    struct file initrd;
    uint64_t end = 0;
    int ret = read_header(kernel, params, err);

    if (ret == 0) {
        ret = load_kernel(ram, kernel, params, &end, err);
    }
    if (ret < 0 || !options->initrd) {
        return ret;
    }
    ret = file_open(&initrd, options->initrd, err);
    if (ret == 0) {
        ret = load_initrd(ram, &initrd, params, end, err);
        close(initrd.fd);
    }
    return ret;
}

int boot_load(const struct ram *ram, const struct boot_options *options, uint64_t *entry,
              struct err *err)
{
    struct boot_params *params = ram_at(ram, LAYOUT_BOOT_PARAMS, sizeof(*params));
    struct file kernel;
    int ret = file_open(&kernel, options->kernel, err);

    if (ret < 0) {
        return ret;
    }
    memset(params, 0, sizeof(*params));
    ret = load_files(ram, options, &kernel, params, err);
    close(kernel.fd);
    if (ret == 0) {
        ret = fill_command_line(ram, options->command_line, params, err);
    }
    if (ret < 0) {
        return ret;
    }
    params->hdr.type_of_loader = LOADER_UNKNOWN;
    params->acpi_rsdp_addr = LAYOUT_ACPI;
    fill_memory_map(ram, params);
    fill_gdt(ram);
    fill_page_tables(ram);
    *entry = LAYOUT_KERNEL + ENTRY_64;
    return 0;
}
