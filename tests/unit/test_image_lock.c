/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Who may use an image beside whom: all pairs of uses, in both orders, against the rule in words.
 */

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "core/block/image_lock.h"
#include "tests/unit/image_world.h"

#define MIB (1u << 20)

static bool is_quick; /* nobody looks at all processes for who it is */
static unsigned naps; /* that were asked for: patience is what takes time */

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest);

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)time;
    (void)rest;
    naps++;
    return 0;
}

/* ---- the matrix ---- */

static const struct image_range ranges[] = {
    {0, 0},            /* all of it */
    {0, MIB},          /* meets the next in its last sector */
    {MIB - 512, 1024}, /* one sector of each neighbour */
    {MIB, MIB},
    {2 * MIB, 0}, /* to the end */
    {MIB * 3ull, 4096},
    {1ull << 62, 0},
};

#define PART ARRAY_SIZE(ranges) /* as of a partition */
#define KINDS (4 * PART + 2)    /* none of the last two is shareable */
#define READS(kind) ((kind)&1)  /* and does not write */
#define SHARES(kind) ((kind) >> 1 & 1)
#define RANGE(kind) ((kind) >> 2)

static struct image_use use_of(unsigned kind, const char *path)
{
    return (struct image_use){
        .image = path,
        .owner = "vda",
        .range = RANGE(kind) == PART ? ranges[0] : ranges[RANGE(kind)],
        .is_readonly = READS(kind),
        .is_shareable = SHARES(kind),
        .is_part = RANGE(kind) == PART,
        .is_retry = is_quick,
    };
}

static uint64_t end_of(const struct image_range *range)
{
    return range->length ? range->offset + range->length : UINT64_MAX;
}

static bool are_apart(unsigned a, unsigned b)
{
    const struct image_range *one = &ranges[RANGE(a)];
    const struct image_range *other = &ranges[RANGE(b)];

    return end_of(one) <= other->offset || end_of(other) <= one->offset;
}

static bool may_be_together(unsigned a, unsigned b)
{
    bool is_part = RANGE(a) == PART, other_is = RANGE(b) == PART;

    if (READS(a) && READS(b)) {
        return true;
    }
    if (is_part || other_is) {
        return is_part && other_is;
    }
    return are_apart(a, b) || (SHARES(a) && SHARES(b));
}

/* Returns the fd, or -errno. */
static int take(struct image_world *w, unsigned kind)
{
    struct image_use use = use_of(kind, w->image);
    int fd = open(w->image, O_RDWR | O_CLOEXEC);
    int ret = image_lock(fd, w->image, &use, &w->err);

    assert_true(fd >= 0);
    if (ret < 0) {
        image_lock_close(fd);
    }
    return ret < 0 ? ret : fd;
}

static void let_go(int fd)
{
    if (fd >= 0) {
        image_lock_close(fd);
    }
}

static void each_two_uses_are_as_the_rule_says(void **state)
{
    struct image_world *w = *state;

    is_quick = true;
    for (unsigned a = 0; a < KINDS; a++) {
        for (unsigned b = 0; b < KINDS; b++) {
            int first = take(w, a);
            int second;

            assert_true(first >= 0);
            second = take(w, b);
            if ((second >= 0) != may_be_together(a, b)) {
                fail_msg("use %u beside %u: %d", b, a, second);
            }
            let_go(second);
            let_go(first);
        }
    }
    assert_true(naps > 0);
}

/*
 * Of three some rules are stricter, as a lock tells no more than that it is there.  But nobody
 * comes in who does not get along with one who is there, and disks of one manner need look at no
 * more.
 */
static void third_use_gets_along_with_both(void **state)
{
    struct image_world *w = *state;
    unsigned seed = 5;

    is_quick = true;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned kind[3];
        int fd[3];

        for (unsigned j = 0; j < 3; j++) {
            seed = seed * 1103515245 + 12345;
            kind[j] = (seed >> 16) % KINDS;
        }
        fd[0] = take(w, kind[0]);
        fd[1] = take(w, kind[1]);
        fd[2] = fd[1] >= 0 ? take(w, kind[2]) : -1;
        if (fd[2] >= 0) {
            assert_true(may_be_together(kind[0], kind[2]));
            assert_true(may_be_together(kind[1], kind[2]));
        }
        let_go(fd[2]);
        let_go(fd[1]);
        let_go(fd[0]);
    }
}

static unsigned kind_of(unsigned range, bool reads, bool shares)
{
    return range << 2 | (unsigned)shares << 1 | (unsigned)reads;
}

/* A daemon that comes back locks them in any order. */
static void ranges_side_by_side_come_in_any_order(void **state)
{
    static const unsigned of[] = {1, 3, 4};
    struct image_world *w = *state;

    is_quick = true;
    for (unsigned manner = 0; manner < 4; manner++) {
        for (unsigned order = 0; order < 6; order++) {
            int fd[3];
            int odd;

            for (unsigned i = 0; i < 3; i++) {
                unsigned at = (order + i * (order < 3 ? 1 : 2)) % 3;

                fd[i] = take(w, kind_of(of[at], manner & 1, manner >> 1));
                assert_true(fd[i] >= 0);
            }
            odd = take(w, kind_of(2, false, false));
            assert_int_equal(odd, -EBUSY);
            assert_int_equal(take(w, kind_of(0, false, false)), -EBUSY);
            for (unsigned i = 0; i < 3; i++) {
                let_go(fd[i]);
            }
        }
    }
}

/* ---- who it is ---- */

static void refusal_names_the_disk_of_the_same_daemon_whose_range_it_is(void **state)
{
    struct image_world *w = *state;
    struct image_use use = {.image = w->image, .owner = "left", .range = {0, MIB}};
    int left = open(w->image, O_RDWR | O_CLOEXEC);
    int right = open(w->image, O_RDWR | O_CLOEXEC);

    is_quick = false;
    assert_int_equal(image_lock(left, w->image, &use, &w->err), 0);
    use.owner = "right";
    use.range = (struct image_range){MIB, MIB};
    assert_int_equal(image_lock(right, w->image, &use, &w->err), 0);
    assert_int_equal(take(w, kind_of(2, false, false)), -EBUSY); /* meets both */
    assert_non_null(strstr(w->err.text, ", a disk of this vblkd"));
    assert_non_null(strstr(w->err.text, " (bytes 1048064 to 1049087 of it) is in use"));
    image_lock_close(left);
    assert_int_equal(take(w, kind_of(2, false, false)), -EBUSY);
    assert_non_null(strstr(w->err.text, ": right, a disk of this vblkd"));
    assert_int_equal(take(w, kind_of(0, false, false)), -EBUSY);
    assert_non_null(strstr(w->err.text, ": right, a disk of this vblkd"));
    assert_non_null(strstr(w->err.text, "--shareable"));
    image_lock_close(right);
    assert_true(take(w, kind_of(0, false, false)) >= 0);
}

static void refusal_names_another_process(void **state)
{
    struct image_world *w = *state;
    char expected[64];
    int ready[2];
    char byte;
    pid_t pid;

    is_quick = false;
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        byte = take(w, kind_of(1, false, false)) >= 0;
        if (write(ready[1], &byte, 1) != 1) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_true(byte);
    let_go(take(w, kind_of(3, false, false)));
    assert_int_equal(take(w, kind_of(2, false, true)), -EBUSY);
    snprintf(expected, sizeof(expected), "(pid %d)", (int)pid);
    assert_non_null(strstr(w->err.text, expected));
    assert_non_null(strstr(w->err.text, "share-rw=on"));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ready[0]);
    close(ready[1]);
}

/* ---- QEMU ---- */

/* What QEMU says of a guest's disk while we have what we have; NULL is no answer. */
static bool qemu_takes(const struct image_world *w, const char *options)
{
    char command[512];

    snprintf(command, sizeof(command),
             "echo '{\"execute\": \"qmp_capabilities\"} {\"execute\": \"quit\"}' | "
             "qemu-system-x86_64 -S -nodefaults -display none -qmp stdio "
             "-device virtio-blk-pci,drive=d%s -drive if=none,id=d,format=raw,file=%s "
             ">/dev/null 2>&1",
             options, w->image);
    return system(command) == 0;
}

static void qemu_comes_in_where_we_would(void **state)
{
    struct image_world *w = *state;
    int fd;

    if (system("command -v qemu-system-x86_64 >/dev/null") != 0) {
        skip();
    }
    fd = take(w, kind_of(0, false, true));
    assert_true(qemu_takes(w, ",share-rw=on"));
    assert_false(qemu_takes(w, ""));
    let_go(fd);
    fd = take(w, kind_of(3, false, true));
    assert_true(qemu_takes(w, ",share-rw=on"));
    let_go(fd);
    fd = take(w, kind_of(3, false, false));
    assert_false(qemu_takes(w, ",share-rw=on"));
    assert_false(qemu_takes(w, ""));
    let_go(fd);
    fd = take(w, kind_of(3, true, false));
    assert_false(qemu_takes(w, ""));
    let_go(fd);
}

static void lock_as_qemu(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
}

/* Source: QEMU 7.2, hw/block/block.c, blkconf_apply_backend_options. */
static void we_come_in_where_qemu_shares(void **state)
{
    struct image_world *w = *state;
    int fd = open(w->image, O_RDWR | O_CLOEXEC);

    lock_as_qemu(fd, 100);
    lock_as_qemu(fd, 101);
    for (unsigned range = 0; range < PART; range++) {
        let_go(take(w, kind_of(range, false, true)));
        assert_int_equal(take(w, kind_of(range, false, false)), -EBUSY);
        assert_int_equal(take(w, kind_of(range, true, false)), -EBUSY);
    }
    lock_as_qemu(fd, 201);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        assert_int_equal(take(w, kind), -EBUSY);
    }
    close(fd);
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(each_two_uses_are_as_the_rule_says),
        in_world(third_use_gets_along_with_both),
        in_world(ranges_side_by_side_come_in_any_order),
        in_world(refusal_names_the_disk_of_the_same_daemon_whose_range_it_is),
        in_world(refusal_names_another_process),
        in_world(qemu_comes_in_where_we_would),
        in_world(we_come_in_where_qemu_shares),
    };

    return unit_run(tests);
}
