/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What a guest's memory is given at the start: how much of it there can be, and the files. */
#include "cmd/vm/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/vm/layout.h"
#include "tests/unit/unit.h"

#define MEMORY_BYTES (16u << 20)
#define SETUP_BYTES 1024u
#define CODE_BYTES 4096u
#define DEADLINE_S 60u
#define GIB (1ull << 30)
#define TIB (1ull << 40)

struct world {
    char dir[32];
    char path[64]; /* of the file that a test is about */
    char kernel[64];
    struct ram ram;
    struct boot_options options;
    struct err err;
    uint64_t entry;
};

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

/* A bzImage: a header, and code that nobody runs. */
static void write_kernel(const char *path, uint64_t place)
{
    static uint8_t image[SETUP_BYTES + CODE_BYTES];
    struct boot_params *params = (struct boot_params *)image;

    memset(image, 0, sizeof(image));
    memset(image + SETUP_BYTES, 0x90, CODE_BYTES);
    params->hdr.setup_sects = 1;
    params->hdr.boot_flag = 0xaa55;
    params->hdr.jump = 0x66eb;
    params->hdr.header = 0x53726448;
    params->hdr.version = 0x020f;
    params->hdr.xloadflags = XLF_KERNEL_64;
    params->hdr.initrd_addr_max = 0x7fffffff;
    params->hdr.cmdline_size = 255;
    params->hdr.pref_address = place;
    params->hdr.init_size = CODE_BYTES;
    write_file(path, image, sizeof(image));
}

static int start(void **state)
{
    static struct world world;
    struct world *w = &world;

    (void)alarm(DEADLINE_S); /* who waits for ever has failed */
    memset(w, 0, sizeof(*w));
    strcpy(w->dir, "/tmp/vblk-boot-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/file", w->dir);
    snprintf(w->kernel, sizeof(w->kernel), "%s/kernel", w->dir);
    write_kernel(w->kernel, LAYOUT_KERNEL);
    w->ram.low = MEMORY_BYTES;
    w->ram.host = calloc(1, MEMORY_BYTES);
    assert_non_null(w->ram.host);
    w->options = (struct boot_options){.kernel = w->kernel, .command_line = "a=b"};
    *state = w;
    return 0;
}

static int stop(void **state)
{
    struct world *w = *state;

    free(w->ram.host);
    (void)unlink(w->path);
    (void)rmdir(w->path);
    (void)unlink(w->kernel);
    (void)rmdir(w->dir);
    (void)alarm(0);
    return 0;
}

static int load(struct world *w)
{
    return boot_load(&w->ram, &w->options, &w->entry, &w->err);
}

static void expect_refused(struct world *w, const char *words)
{
    assert_true(load(w) < 0);
    if (!strstr(w->err.text, words)) {
        fail_msg("\"%s\" does not say \"%s\"", w->err.text, words);
    }
}

/* As kernel, and as initial RAM disk. */
static void expect_both_refused(struct world *w, const char *words)
{
    w->options.initrd = w->path;
    expect_refused(w, words);
    w->options.initrd = NULL;
    w->options.kernel = w->path;
    expect_refused(w, words);
}

/* ---- files ---- */

static void kernel_and_initrd_are_put_where_they_belong(void **state)
{
    struct world *w = *state;
    const struct boot_params *params = ram_at(&w->ram, LAYOUT_BOOT_PARAMS, sizeof(*params));

    write_file(w->path, "initrd", 6);
    w->options.initrd = w->path;
    assert_int_equal(load(w), 0);
    assert_int_equal(w->entry, LAYOUT_KERNEL + 0x200);
    assert_int_equal(w->ram.host[LAYOUT_KERNEL], 0x90);
    assert_int_equal(params->hdr.ramdisk_size, 6);
    assert_memory_equal(w->ram.host + params->hdr.ramdisk_image, "initrd", 6);
    assert_string_equal((char *)w->ram.host + LAYOUT_COMMAND_LINE, "a=b");
}

/* Nobody writes to it, so whoever opened it to read would wait for ever. */
static void a_pipe_is_no_file(void **state)
{
    struct world *w = *state;

    assert_int_equal(mkfifo(w->path, 0600), 0);
    expect_both_refused(w, "is a FIFO, not a regular file");
}

static void a_directory_is_no_file(void **state)
{
    struct world *w = *state;

    assert_int_equal(mkdir(w->path, 0700), 0);
    expect_both_refused(w, "is a directory, not a regular file");
}

static void a_device_is_no_file(void **state)
{
    struct world *w = *state;

    w->options.kernel = "/dev/zero";
    expect_refused(w, "/dev/zero is a device, not a regular file");
    w->options.kernel = w->kernel;
    w->options.initrd = "/dev/zero";
    expect_refused(w, "/dev/zero is a device, not a regular file");
}

static void a_socket_is_no_file(void **state)
{
    struct world *w = *state;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(addr.sun_path, w->path);
    assert_int_equal(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
    expect_both_refused(w, "is a socket, not a regular file");
    close(sock);
}

static void a_file_that_is_not_there_is_said(void **state)
{
    struct world *w = *state;

    expect_both_refused(w, "No such file");
}

static void what_is_no_kernel_is_said(void **state)
{
    static const uint8_t zeros[8192];
    struct world *w = *state;

    w->options.kernel = w->path;
    write_file(w->path, zeros, 100);
    expect_refused(w, "too short");
    write_file(w->path, zeros, sizeof(zeros));
    expect_refused(w, "is not a bzImage");
}

static void a_long_command_line_is_refused(void **state)
{
    struct world *w = *state;
    char line[300];

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    w->options.command_line = line;
    expect_refused(w, "the command line has 299 bytes, this kernel takes 255");
}

/* ---- how much memory ---- */

static void too_little_memory_is_said_with_what_it_takes(void **state)
{
    struct world *w = *state;

    write_kernel(w->kernel, MEMORY_BYTES);
    expect_refused(w, "16M of memory are too little; give at least --memory 32M");
}

static void what_fits_into_no_memory_gets_no_such_advice(void **state)
{
    struct world *w = *state;

    write_kernel(w->kernel, LAYOUT_RAM_LOW_MAX);
    expect_refused(w, "does not fit: it has to lie below 3072M");
    assert_null(strstr(w->err.text, "--memory"));
    write_kernel(w->kernel, UINT64_MAX - 10);
    expect_refused(w, "does not fit: it has to lie below 3072M");
}

/* Below that it is the kernel that sets a limit. */
static void set_initrd_addr_max(const char *kernel, uint32_t value)
{
    int fd = open(kernel, O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(
        pwrite(fd, &value, sizeof(value), offsetof(struct boot_params, hdr.initrd_addr_max)),
        sizeof(value));
    close(fd);
}

static void initrd_that_the_kernel_has_no_place_for_gets_no_such_advice(void **state)
{
    static const uint8_t initrd[4 << 20];
    struct world *w = *state;

    write_file(w->path, initrd, sizeof(initrd));
    w->options.initrd = w->path;
    set_initrd_addr_max(w->kernel, (4 << 20) - 1);
    expect_refused(w, "does not fit: it has to lie below 4M");
    assert_null(strstr(w->err.text, "--memory"));
    set_initrd_addr_max(w->kernel, (12 << 20) - 1);
    assert_int_equal(load(w), 0);
}

static void memory_ends_where_the_processor_ends(void **state)
{
    struct world *w = *state;

    assert_int_equal(ram_check(35 * GIB, 36, &w->err), 0);
    assert_int_equal(ram_check(63 * GIB, 36, &w->err), 0); /* the hole for devices has one */
    assert_int_equal(ram_check(63 * GIB + 4096, 36, &w->err), -EINVAL);
    assert_int_equal(ram_check(64 * GIB, 36, &w->err), -EINVAL);
    assert_string_equal(w->err.text,
                        "cannot give the guest 64G of memory: the processors of this host reach "
                        "63G; give less by --memory");
    assert_int_equal(ram_check(2 * GIB, 32, &w->err), 0);
    assert_int_equal(ram_check(4 * GIB, 32, &w->err), -EINVAL);
    assert_int_equal(ram_check(8 * TIB, 52, &w->err), 0);
    assert_int_equal(ram_check(8 * TIB, 64, &w->err), 0);
}

/* The fd is every back-end's, too. */
static void memory_keeps_its_size(void **state)
{
    struct world *w = *state;
    struct ram ram;

    assert_int_equal(ram_open(&ram, MEMORY_BYTES, &w->err), 0);
    assert_int_equal(ftruncate(ram.fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(ram.fd, 2 * MEMORY_BYTES), -1);
    memset(ram.host, 1, MEMORY_BYTES);
    ram_close(&ram);
}

static void memory_that_the_host_has_not_is_said(void **state)
{
    struct world *w = *state;
    struct ram ram;

    if (RUNNING_ON_VALGRIND) {
        skip(); /* which calls the length invalid */
    }
    assert_int_equal(ram_open(&ram, 1ull << 60, &w->err), -ENOMEM);
    assert_string_equal(w->err.text, "cannot give the guest 1024P of memory: shared memory: "
                                     "Cannot allocate memory; give less by --memory");
}

int main(void)
{
#define boot_test(test) cmocka_unit_test_setup_teardown(test, start, stop)
    static const struct CMUnitTest tests[] = {
        boot_test(kernel_and_initrd_are_put_where_they_belong),
        boot_test(a_pipe_is_no_file),
        boot_test(a_directory_is_no_file),
        boot_test(a_device_is_no_file),
        boot_test(a_socket_is_no_file),
        boot_test(a_file_that_is_not_there_is_said),
        boot_test(what_is_no_kernel_is_said),
        boot_test(a_long_command_line_is_refused),
        boot_test(too_little_memory_is_said_with_what_it_takes),
        boot_test(initrd_that_the_kernel_has_no_place_for_gets_no_such_advice),
        boot_test(what_fits_into_no_memory_gets_no_such_advice),
        boot_test(memory_ends_where_the_processor_ends),
        boot_test(memory_keeps_its_size),
        boot_test(memory_that_the_host_has_not_is_said),
    };

    return unit_run(tests);
}
