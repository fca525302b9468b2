/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/lingering.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "core/base/porter.h"
#include "tests/lib/vhost_msg.h"
#include "tests/unit/fd_count.h"

#define DEADLINE_MS 30000
#define OWNER 42u

/* A front-end's connection, and where porters answer. */
struct world {
    int sock;
    int peer;
    int answer[2];
    struct porter_answer got;
};

static int world_start(void **state)
{
    static struct world w;
    int pair[2];

    assert_int_equal(porter_init(), 0);
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
    assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w.answer), errno);
    w.sock = pair[0];
    w.peer = pair[1];
    *state = &w;
    return 0;
}

/* A porter is done a little after its answer. */
static void wait_count(uintptr_t owner, unsigned count)
{
    uint64_t end = now_ns() + DEADLINE_MS * NS_PER_MS;

    while (porter_count(owner) != count) {
        assert_true(now_ns() < end);
        (void)poll(NULL, 0, 1);
    }
}

static void wait_idle(uintptr_t owner)
{
    wait_count(owner, 0);
}

static int world_stop(void **state)
{
    struct world *w = *state;

    wait_idle(OWNER);
    close(w->sock);
    close(w->peer);
    close(w->answer[0]);
    close(w->answer[1]);
    return 0;
}

static void give(struct world *w, const char *text, const int *fds, unsigned count)
{
    assert_int_equal(vhost_send_bytes(w->peer, text, strlen(text), fds, count), 0);
}

static int ask(struct world *w, size_t want)
{
    struct pollfd p = {.fd = w->answer[0], .events = POLLIN};
    int ret = porter_receive(w->sock, want, w->answer[1], OWNER);

    if (ret == 0) {
        assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
        ret = porter_take(w->answer[0], &w->got);
    }
    return ret;
}

static void close_got(struct world *w)
{
    for (unsigned i = 0; i < w->got.fd_count; i++) {
        if (w->got.fd[i].fd >= 0) {
            close(w->got.fd[i].fd);
        }
    }
}

static void bytes_come_as_many_as_are_wanted(void **state)
{
    struct world *w = *state;

    give(w, "headerpayload", NULL, 0);
    assert_int_equal(ask(w, 6), 0);
    assert_int_equal(w->got.got, 6);
    assert_memory_equal(w->got.bytes, "header", 6);
    assert_int_equal(ask(w, 100), 0);
    assert_int_equal(w->got.got, 7);
    assert_memory_equal(w->got.bytes, "payload", 7);
    assert_int_equal(w->got.fd_count, 0);
}

static void nothing_there_and_the_end_are_told(void **state)
{
    struct world *w = *state;

    assert_int_equal(ask(w, 1), 0);
    assert_int_equal(w->got.got, -EAGAIN);
    assert_int_equal(shutdown(w->peer, SHUT_WR), 0);
    assert_int_equal(ask(w, 1), 0);
    assert_int_equal(w->got.got, 0);
}

static void harmless_fds_are_passed_on_and_others_are_named(void **state)
{
    struct world *w = *state;
    int fds[] = {eventfd(0, EFD_CLOEXEC), open("/", O_RDONLY | O_CLOEXEC),
                 memfd_create("guest", MFD_CLOEXEC)};

    give(w, "x", fds, ARRAY_SIZE(fds));
    assert_int_equal(ask(w, 1), 0);
    assert_int_equal(w->got.fd_count, 3);
    assert_int_equal(w->got.fd[0].kind, FOREIGN_EVENT);
    assert_int_equal(w->got.fd[1].kind, FOREIGN_REFUSED);
    assert_int_equal(w->got.fd[1].fd, -1);
    assert_string_equal(w->got.fd[1].what, "a directory");
    assert_int_equal(w->got.fd[2].kind, FOREIGN_MEMORY);
    assert_return_code(eventfd_write(w->got.fd[0].fd, 7), errno);
    assert_return_code(ftruncate(w->got.fd[2].fd, 100), errno);
    assert_true(fcntl(w->got.fd[0].fd, F_GETFD) & FD_CLOEXEC);
    close_got(w);
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        close(fds[i]);
    }
}

static void more_fds_than_fit_are_told_and_closed(void **state)
{
    struct world *w = *state;
    unsigned before = fd_count();
    int event = eventfd(0, EFD_CLOEXEC);
    int fds[PORTER_FDS + 3];

    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = event;
    }
    give(w, "x", fds, ARRAY_SIZE(fds));
    assert_int_equal(ask(w, 1), 0);
    assert_true(w->got.has_more_fds);
    assert_int_equal(w->got.fd_count, PORTER_FDS);
    close_got(w);
    close(event);
    fd_count_is_again(before);
}

/* Ours is not the last when it is closed: the one that is on its way is. */
static struct lingering give_lingering(struct world *w)
{
    struct lingering l = lingering_open();

    give(w, "x", &l.fd, 1);
    close(l.fd);
    return l;
}

static void close_that_waits_holds_up_nobody(void **state)
{
    struct world *w = *state;
    struct lingering l = give_lingering(w);

    assert_int_equal(ask(w, 1), 0);
    assert_int_equal(w->got.fd[0].kind, FOREIGN_REFUSED);
    give(w, "y", NULL, 0);
    assert_int_equal(ask(w, 1), 0);
    assert_int_equal(w->got.bytes[0], 'y');
    wait_count(OWNER, 1); /* the first of them */
    close(l.peer);
    wait_idle(OWNER);
}

static void one_owner_gets_no_more_than_its_share(void **state)
{
    struct world *w = *state;
    struct lingering l[PORTERS_OF_ONE - 1]; /* the last one is for a close */

    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        l[i] = give_lingering(w);
        assert_int_equal(ask(w, 1), 0);
    }
    assert_int_equal(porter_receive(w->sock, 1, w->answer[1], OWNER), -EBUSY);
    assert_int_equal(porter_receive(w->sock, 1, w->answer[1], OWNER + 1), 0);
    wait_idle(OWNER + 1);
    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        close(l[i].peer);
    }
    wait_idle(OWNER);
    assert_int_equal(porter_take(w->answer[0], &w->got), 0);
    assert_int_equal(ask(w, 1), 0);
}

/* Whoever has given up gets nothing, and nothing is left of it. */
static void answer_that_nobody_takes_is_dropped(void **state)
{
    struct world *w = *state;
    int event = eventfd(0, EFD_CLOEXEC);
    unsigned before = fd_count();
    int answer[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, answer), errno);
    give(w, "x", &event, 1);
    assert_int_equal(porter_receive(w->sock, 1, answer[1], OWNER), 0);
    close(answer[0]);
    close(answer[1]);
    wait_idle(OWNER);
    fd_count_is_again(before);
    close(event);
}

static void unread_fds_go_with_their_socket_elsewhere(void **state)
{
    struct world *w = *state;
    struct lingering l = give_lingering(w);
    uint64_t before = now_ns();
    char end;

    porter_close(w->sock, OWNER);
    assert_true(now_ns() - before < LINGER_S * NS_PER_S / 4);
    assert_int_equal(recv(w->peer, &end, 1, 0) > 0, 0); /* it is closed for its peer */
    close(l.peer);
    wait_idle(OWNER);
    w->sock = dup(w->peer); /* for the teardown */
}

static void close_in_time(int sock)
{
    uint64_t before = now_ns();

    porter_close(sock, OWNER);
    assert_true(now_ns() - before < LINGER_S * NS_PER_S / 4);
}

/* The second of them waits for one of the others, and for nobody's sake else. */
static void sockets_are_closed_without_a_wait_when_no_porter_is_free(void **state)
{
    struct world *w = *state;
    struct lingering l[PORTERS_OF_ONE + 1];
    unsigned before = fd_count();
    int pair[2];

    for (unsigned i = 0; i < PORTERS_OF_ONE - 1; i++) {
        l[i] = give_lingering(w);
        assert_int_equal(ask(w, 1), 0);
    }
    for (unsigned i = PORTERS_OF_ONE - 1; i < ARRAY_SIZE(l); i++) {
        assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), errno);
        l[i] = lingering_open();
        assert_int_equal(vhost_send_bytes(pair[1], "x", 1, &l[i].fd, 1), 0);
        close(l[i].fd);
        close_in_time(pair[0]);
        close(pair[1]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(l); i++) {
        close(l[i].peer);
    }
    wait_idle(OWNER);
    assert_int_equal(ask(w, 1), 0); /* which takes the last one along */
    wait_idle(OWNER);
    fd_count_is_again(before);
}

/* Whoever takes a number of ours for his own file, as for standard error, does not end us. */
static void what_is_no_job_is_not_taken_for_one(void **state)
{
    static const char line[] = "error: vda: a line that is longer than a job";
    static const size_t job_bytes = 16;
    struct world *w = *state;
    int gate = 63; /* porter_init has taken the free numbers below 64 for it */

    assert_int_equal(ask(w, 1), 0); /* somebody waits there */
    assert_int_equal(write(gate, line, sizeof(line)), sizeof(line));
    assert_int_equal(write(gate, line, job_bytes), job_bytes);
    assert_int_equal(write(gate, line, 1), 1);
    give(w, "x", NULL, 0);
    assert_int_equal(ask(w, 1), 0);
    assert_int_equal(w->got.bytes[0], 'x');
}

#ifndef __SANITIZE_THREAD__ /* see porter.c */

/* The kernel's number of a thread of that name, 0: none. */
static int find_thread(const char *name)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    int found = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) && found == 0) {
        char path[300];
        char comm[32] = "";
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (file && fgets(comm, sizeof(comm), file)) {
            comm[strcspn(comm, "\n")] = '\0';
            found = strcmp(comm, name) == 0 ? atoi(entry->d_name) : 0;
        }
        if (file) {
            fclose(file);
        }
    }
    closedir(dir);
    return found;
}

static bool has_link(int tid, const char *text)
{
    char path[300];
    char link[256];
    DIR *dir;
    struct dirent *entry;
    bool found = false;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/fd", tid);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        ssize_t len;

        (void)snprintf(path, sizeof(path), "/proc/self/task/%d/fd/%s", tid, entry->d_name);
        len = readlink(path, link, sizeof(link) - 1);
        link[len > 0 ? len : 0] = '\0';
        found |= strstr(link, text) != NULL;
    }
    closedir(dir);
    return found;
}

/* A process that is killed closes its files although a porter waits: it has none of them. */
static void porter_holds_nothing_of_the_process(void **state)
{
    struct world *w = *state;
    int marker = memfd_create("marker", MFD_CLOEXEC);
    struct lingering l = give_lingering(w);
    int tid;

    assert_int_equal(ask(w, 1), 0);
    tid = find_thread("porter");
    assert_true(tid > 0);
    assert_true(has_link(getpid(), "marker"));
    assert_false(has_link(tid, "marker"));
    close(l.peer);
    close(marker);
}

#endif

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

/* Linux copies the fds below 64 at least: none of them may be one whose close can wait. */
static void no_porter_gets_a_copy_of_what_is_opened_later(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 64);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(no_porter_gets_a_copy_of_what_is_opened_later),
        in_world(bytes_come_as_many_as_are_wanted),
        in_world(nothing_there_and_the_end_are_told),
        in_world(harmless_fds_are_passed_on_and_others_are_named),
        in_world(more_fds_than_fit_are_told_and_closed),
        in_world(close_that_waits_holds_up_nobody),
        in_world(one_owner_gets_no_more_than_its_share),
        in_world(answer_that_nobody_takes_is_dropped),
        in_world(unread_fds_go_with_their_socket_elsewhere),
        in_world(sockets_are_closed_without_a_wait_when_no_porter_is_free),
        in_world(what_is_no_job_is_not_taken_for_one),
#ifndef __SANITIZE_THREAD__
        in_world(porter_holds_nothing_of_the_process),
#endif
    };

    return unit_run(tests);
}
