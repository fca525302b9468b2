/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/foreign.h"

/* Looks at `fd` and closes it. */
static struct foreign look(int fd)
{
    struct foreign foreign = {.fd = fd};

    assert_true(fd >= 0);
    foreign_look(&foreign);
    assert_int_equal(foreign.fd, fd);
    close(fd);
    return foreign;
}

static void expect_refused(int fd, const char *what)
{
    struct foreign foreign = look(fd);

    assert_int_equal(foreign.kind, FOREIGN_REFUSED);
    assert_string_equal(foreign.what, what);
}

static void eventfd_is_one(void **state)
{
    (void)state;
    assert_int_equal(look(eventfd(0, EFD_CLOEXEC)).kind, FOREIGN_EVENT);
}

static void pipe_is_one_at_both_ends(void **state)
{
    int fds[2];

    (void)state;
    assert_return_code(pipe2(fds, O_CLOEXEC), errno);
    assert_int_equal(look(fds[0]).kind, FOREIGN_PIPE);
    assert_int_equal(look(fds[1]).kind, FOREIGN_PIPE);
}

static void shared_memory_is_known_by_its_seals(void **state)
{
    int huge = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    int tmp = open("/dev/shm", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    (void)state;
    assert_int_equal(look(memfd_create("mem", MFD_CLOEXEC)).kind, FOREIGN_MEMORY);
    if (huge >= 0) { /* a kernel may have none */
        assert_int_equal(look(huge).kind, FOREIGN_MEMORY);
    }
    if (tmp >= 0) {
        assert_int_equal(look(tmp).kind, FOREIGN_MEMORY);
    }
}

static void half_of_a_socketpair_cannot_be_sent_to_any_more(void **state)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        struct foreign foreign = {0};
        int unread = 0;
        int pair[2];

        assert_return_code(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, pair), errno);
        assert_int_equal(send(pair[1], "x", 1, MSG_DONTWAIT), 1);
        foreign.fd = pair[0];
        foreign_look(&foreign);
        assert_int_equal(foreign.kind, FOREIGN_SOCKET);
        assert_int_equal(recv(pair[0], &unread, 1, MSG_DONTWAIT | MSG_PEEK) > 0, 0);
        assert_int_equal(send(pair[1], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
        assert_int_equal(send(pair[0], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), 1);
        close(pair[0]);
        close(pair[1]);
    }
}

static void other_sockets_are_refused(void **state)
{
    static const char what[] = "a socket that is no end of a UNIX socketpair";
    struct sockaddr_un name = {.sun_family = AF_UNIX}; /* the system chooses one */
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(name);

    (void)state;
    assert_return_code(bind(listener, (struct sockaddr *)&name, sizeof(sa_family_t)), errno);
    assert_return_code(listen(listener, 1), errno);
    assert_return_code(getsockname(listener, (struct sockaddr *)&name, &len), errno);
    assert_return_code(connect(connected, (struct sockaddr *)&name, len), errno);
    expect_refused(connected, what);
    expect_refused(listener, what);
    expect_refused(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), what);
}

/* What holds on to other files, or is readable whenever it likes. */
static void other_files_of_the_kernel_are_refused_by_name(void **state)
{
    sigset_t none;

    (void)state;
    sigemptyset(&none);
    expect_refused(epoll_create1(EPOLL_CLOEXEC), "anon_inode:[eventpoll]");
    expect_refused(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "anon_inode:[timerfd]");
    expect_refused(signalfd(-1, &none, SFD_CLOEXEC), "anon_inode:[signalfd]");
}

static void file_of_a_local_file_system_is_let_in(void **state)
{
    char path[] = "/var/tmp/vblk-foreign-XXXXXX";
    int fd = mkstemp(path);
    struct foreign foreign;

    (void)state;
    assert_true(fd >= 0);
    unlink(path);
    foreign = look(fd);
    if (strstr(foreign.what, "overlayfs")) { /* in a container */
        assert_int_equal(foreign.kind, FOREIGN_REFUSED);
    } else {
        assert_true(foreign.kind == FOREIGN_FILE || foreign.kind == FOREIGN_MEMORY);
    }
}

static void what_is_no_file_with_data_is_refused(void **state)
{
    (void)state;
    expect_refused(open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY), "a directory");
    expect_refused(open("/dev/null", O_RDWR | O_CLOEXEC), "a device that is no DAX device");
    expect_refused(open("/proc/self/stat", O_RDONLY | O_CLOEXEC), "a file on procfs");
    expect_refused(open("/proc/self/stat", O_PATH | O_CLOEXEC),
                   "a descriptor that was not opened for access");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eventfd_is_one),
        cmocka_unit_test(pipe_is_one_at_both_ends),
        cmocka_unit_test(shared_memory_is_known_by_its_seals),
        cmocka_unit_test(half_of_a_socketpair_cannot_be_sent_to_any_more),
        cmocka_unit_test(other_sockets_are_refused),
        cmocka_unit_test(other_files_of_the_kernel_are_refused_by_name),
        cmocka_unit_test(file_of_a_local_file_system_is_let_in),
        cmocka_unit_test(what_is_no_file_with_data_is_refused),
    };

    return unit_run(tests);
}
