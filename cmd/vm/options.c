/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/options.h"

#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/common/argv.h"
#include "cmd/common/size.h"
#include "cmd/vm/layout.h"
#include "core/base/log.h"
#include "transports/vmm/virtio_regs.h"

#define EXIT_USAGE 2

#define MEMORY_DEFAULT (256ull << 20)
#define MEMORY_MIN (2ull << 20)
#define MEMORY_MAX (8ull << 40) /* as much above 4 GiB is the most that KVM takes in one slot */
#define MEMORY_STEP 4096u

/* One list for parsing and for --help. */
static const struct {
    struct option option;
    const char *arg;
    const char *help;
} table[] = {
    {{"kernel", required_argument, NULL, 'k'}, "BZIMAGE", "Linux to boot, or what looks like it"},
    {{"initrd", required_argument, NULL, 'i'}, "FILE", "its initial RAM disk"},
    {{"append", required_argument, NULL, 'a'}, "TEXT", "its command line [console=ttyS0]"},
    {{"memory", required_argument, NULL, 'm'}, "SIZE", "of the guest [256M]"},
    {{"cpus", required_argument, NULL, 'n'}, "N", "processors, 1 to 64 [1]"},
    {{"disk", required_argument, NULL, 'd'},
     "DISK",
     "NAME of vblkd's or a socket's path, then\n"
     "                      ,transport=pci|pci-legacy|mmio|mmio-legacy [pci]\n"
     "                      ,queues=N [one for each processor]\n"
     "                      ,packed=on|off [as the back-end offers]; once for each disk"},
    {{"control", required_argument, NULL, 'c'}, "PATH", "vblkd's control socket, for names"},
    {{"console", required_argument, NULL, 's'},
     "WHERE",
     "stdio, pty, or a file or terminal's path [stdio]"},
    {{"exit-stats", no_argument, NULL, 'e'}, NULL, "print what the guest was left for, at the end"},
    {{"version", no_argument, NULL, 'V'}, NULL, "print the version and end"},
    {{"help", no_argument, NULL, 'h'}, NULL, "print this and end"},
};

static const char *const transports[] = {
    [DISK_PCI] = "pci",
    [DISK_PCI_LEGACY] = "pci-legacy",
    [DISK_MMIO] = "mmio",
    [DISK_MMIO_LEGACY] = "mmio-legacy",
};

bool disk_is_mmio(const struct disk_options *disk)
{
    return disk->transport == DISK_MMIO || disk->transport == DISK_MMIO_LEGACY;
}

static bool is_legacy(const struct disk_options *disk)
{
    return disk->transport == DISK_PCI_LEGACY || disk->transport == DISK_MMIO_LEGACY;
}

static void print_help(void)
{
    printf("Usage: vblkvm --kernel BZIMAGE [OPTION]... [--disk DISK]...\n"
           "Start a KVM guest on disks of vblkd, or of any vhost-user-blk back-end.\n\n");
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        char left[40];

        (void)snprintf(left, sizeof(left), "--%s%s%s", table[i].option.name,
                       table[i].arg ? " " : "", table[i].arg ? table[i].arg : "");
        printf("  %-18s  %s\n", left, table[i].help);
    }
    printf("\nOn a terminal, Ctrl-A X ends the guest and Ctrl-A Ctrl-A sends Ctrl-A.\n");
}

static int complain(const struct err *err)
{
    log_plain("vblkvm: %s", err->text);
    log_plain("Try 'vblkvm --help'.");
    return EXIT_USAGE;
}

static int refuse(const char *option, const char *value, const char *why)
{
    struct err err = {0};

    (void)err_say(&err, -EINVAL, "--%s %s: %s", option, value, why);
    return complain(&err);
}

static int parse_number(const char *text, unsigned max, unsigned *value)
{
    char *end = NULL;
    unsigned long number;

    errno = 0;
    number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number == 0 ||
        number > max) {
        return -EINVAL;
    }
    *value = (unsigned)number;
    return 0;
}

static int parse_transport(struct disk_options *disk, const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(transports); i++) {
        if (strcmp(name, transports[i]) == 0) {
            disk->transport = i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_packed(struct disk_options *disk, const char *word)
{
    bool is_on = strcmp(word, "on") == 0;

    disk->packed = is_on ? DISK_PACKED_ON : DISK_PACKED_OFF;
    return is_on || strcmp(word, "off") == 0 ? 0 : -EINVAL;
}

/* Returns what is wrong, NULL: nothing. */
static const char *parse_disk_word(struct disk_options *disk, const char *word)
{
    if (strncmp(word, "transport=", 10) == 0) {
        return parse_transport(disk, word + 10) < 0
                   ? "transport is pci, pci-legacy, mmio or mmio-legacy"
                   : NULL;
    }
    if (strncmp(word, "queues=", 7) == 0) {
        return parse_number(word + 7, VIRTIO_REGS_MAX_QUEUES, &disk->queues) < 0
                   ? "queues is a number from 1 to 64"
                   : NULL;
    }
    if (strncmp(word, "packed=", 7) == 0) {
        return parse_packed(disk, word + 7) < 0 ? "packed is on or off" : NULL;
    }
    return "only transport=, queues= and packed= may follow the name";
}

static const char *parse_disk(struct disk_options *disk, const char *text)
{
    char copy[256];
    char *rest = copy;
    const char *name;
    const char *wrong = NULL;

    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy)) {
        return "is too long";
    }
    name = strsep(&rest, ",");
    if (name[0] == '\0' || strlen(name) >= sizeof(disk->name)) {
        return "a disk's name or a socket's path of at most 107 bytes comes first";
    }
    memcpy(disk->name, name, strlen(name) + 1);
    while (rest && !wrong) {
        wrong = parse_disk_word(disk, strsep(&rest, ","));
    }
    if (!wrong && disk->packed == DISK_PACKED_ON && is_legacy(disk)) {
        return "packed=on takes transport=pci or transport=mmio";
    }
    return wrong;
}

static int add_disk(struct vm_options *options, const char *text)
{
    const char *wrong;
    unsigned mmio = 0;

    if (options->disk_count == VM_DISKS_MAX) {
        return refuse("disk", text, "one too many, 31 is the most");
    }
    wrong = parse_disk(&options->disk[options->disk_count++], text);
    if (wrong) {
        return refuse("disk", text, wrong);
    }
    for (unsigned i = 0; i < options->disk_count; i++) {
        mmio += disk_is_mmio(&options->disk[i]);
    }
    return mmio > LAYOUT_MMIO_MAX ? refuse("disk", text, "one too many, 8 by mmio are the most")
                                  : -1;
}

static int set_memory(struct vm_options *options, const char *text)
{
    int ret = size_parse(text, &options->memory_bytes);
    struct err err = {0};

    if (ret == -EDOM) {
        (void)err_say(&err, ret, "--memory %s: is %s", text, size_problem(ret));
        return complain(&err);
    }
    if (ret < 0 || !is_aligned(options->memory_bytes, MEMORY_STEP) ||
        options->memory_bytes < MEMORY_MIN || options->memory_bytes > MEMORY_MAX) {
        return refuse("memory", text, "is no size from 2M to 8T, in whole pages of 4096 bytes");
    }
    return -1;
}

/* Returns an exit status, or -1 to go on. */
static int read_option(struct vm_options *options, int letter, const char *value)
{
    switch (letter) {
    case 'k':
        options->kernel = value;
        return -1;
    case 'i':
        options->initrd = value;
        return -1;
    case 'a':
        options->append = value;
        return -1;
    case 'm':
        return set_memory(options, value);
    case 'n':
        return parse_number(value, VM_CPUS_MAX, &options->cpus) < 0
                   ? refuse("cpus", value, "is no number from 1 to 64")
                   : -1;
    case 'd':
        return add_disk(options, value);
    case 'c':
        options->control = value;
        return -1;
    case 's':
        options->console = value;
        return -1;
    case 'e':
        options->shows_exits = true;
        return -1;
    case 'V':
        printf("vblkvm %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    default: /* argv_check has refused all others */
        print_help();
        return EXIT_SUCCESS;
    }
}

int options_parse(struct vm_options *options, int argc, char **argv)
{
    struct option list[ARRAY_SIZE(table) + 1] = {{0}};
    struct err err = {0};
    int letter;
    int ret = -1;

    *options = (struct vm_options){
        .append = "console=ttyS0",
        .memory_bytes = MEMORY_DEFAULT,
        .cpus = 1,
        .console = "stdio",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        list[i] = table[i].option;
    }
    if (argv_check(argc, argv, list, false, &err) < 0) {
        return complain(&err);
    }
    while (ret < 0 && (letter = getopt_long(argc, argv, "", list, NULL)) != -1) {
        ret = read_option(options, letter, optarg);
    }
    if (ret < 0 && optind < argc) {
        (void)err_say(&err, -EINVAL, "unexpected argument \"%s\"", argv[optind]);
        return complain(&err);
    }
    if (ret < 0 && !options->kernel) {
        (void)err_say(&err, -EINVAL, "--kernel is missing");
        return complain(&err);
    }
    return ret;
}
