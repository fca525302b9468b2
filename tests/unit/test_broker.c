/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* renameat2 */
#include "daemon/broker.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/base/names.h"
#include "daemon/broker_work.h"

/* A directory with images/, sockets/, state/ and secret/, and the rules for it. */
struct world {
    char dir[64];
    char place[5][PATH_MAX]; /* of those, and of the directory itself */
    struct broker_rules rules;
};

enum { IMAGES, SOCKETS, STATE, SECRET, CONTROL };

static const char *name_in(const struct world *w, unsigned which, const char *name)
{
    static char path[2][PATH_MAX];
    static unsigned at;

    at = !at;
    (void)snprintf(path[at], sizeof(path[at]), "%.2000s/%s", w->place[which], name);
    return path[at];
}

static void write_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0 && write(fd, "bytes", 5) == 5);
    close(fd);
}

static int start(void **state)
{
    static const char *const names[] = {"images", "sockets", "state", "secret", "sockets/control"};
    static struct world w;

    memset(&w, 0, sizeof(w));
    (void)snprintf(w.dir, sizeof(w.dir), "/tmp/vblk-broker.XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(w.place[i], sizeof(w.place[i]), "%s/%s", w.dir, names[i]);
        assert_true(i == CONTROL || mkdir(w.place[i], 0700) == 0);
    }
    w.rules = (struct broker_rules){.uid = getuid(),
                                    .gid = getgid(),
                                    .asker = getpid(),
                                    .socket_dir = w.place[SOCKETS],
                                    .control_path = w.place[CONTROL],
                                    .state_dir = w.place[STATE],
                                    .image_dir = {w.place[IMAGES]},
                                    .image_dirs = 1};
    write_file(name_in(&w, IMAGES, "a"));
    write_file(name_in(&w, SECRET, "b"));
    write_file(name_in(&w, STATE, "disks.json"));
    *state = &w;
    return 0;
}

static int stop(void **state)
{
    const struct world *w = *state;
    char command[PATH_MAX];

    (void)snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    return system(command); /* NOLINT(cert-env33-c): a directory of our own making */
}

static int work_mode(const struct world *w, enum names_op op, const char *path, mode_t mode,
                     int flags, int fd)
{
    struct names_question question = {
        .op = op, .flags = flags, .mode = mode, .uid = getuid(), .gid = getgid()};
    struct names_answer answer;

    (void)snprintf(question.path, sizeof(question.path), "%s", path);
    broker_work(&w->rules, &question, fd, &answer);
    if (broker_opens(&question) && answer.ret >= 0) {
        close(answer.ret);
    }
    return answer.ret < 0 ? -answer.code : 0;
}

static int work(const struct world *w, enum names_op op, const char *path, int flags, int fd)
{
    return work_mode(w, op, path, 0600, flags, fd);
}

static int work_open(const struct world *w, const char *path, int flags)
{
    return work(w, NAMES_OPEN, path, flags, -1);
}

static void images_are_opened_where_they_may_lie(void **state)
{
    const struct world *w = *state;

    assert_int_equal(work_open(w, name_in(w, IMAGES, "a"), O_RDWR), 0);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "none"), O_RDWR), -ENOENT);
    assert_int_equal(work_open(w, name_in(w, SECRET, "b"), O_RDONLY), -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, STATE, "disks.json"), O_RDONLY), -NAMES_REFUSED);
    assert_int_equal(work_open(w, "/etc/passwd", O_RDONLY), -NAMES_REFUSED);
    assert_int_equal(work_open(w, "/proc/self/mem", O_RDWR), -NAMES_REFUSED);
    assert_int_equal(work_open(w, "/dev/null", O_RDWR), -NAMES_REFUSED);
}

static void no_name_leads_out(void **state)
{
    const struct world *w = *state;

    assert_int_equal(symlink(name_in(w, SECRET, "b"), name_in(w, IMAGES, "out")), 0);
    assert_int_equal(symlink(w->place[SECRET], name_in(w, IMAGES, "dir")), 0);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "out"), O_RDWR), -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "dir/b"), O_RDWR), -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "dir/new"), O_RDWR | O_CREAT | O_EXCL),
                     -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "../secret/b"), O_RDWR), -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, ".."), O_RDONLY | O_DIRECTORY),
                     -NAMES_REFUSED);
    assert_int_equal(work_open(w, "images/a", O_RDWR), -NAMES_REFUSED);
    assert_int_equal(work_open(w, "", O_RDWR), -NAMES_REFUSED);
}

static void nothing_is_truncated_and_nothing_but_files_opened(void **state)
{
    const struct world *w = *state;

    assert_int_equal(work_open(w, name_in(w, IMAGES, "a"), O_RDWR | O_TRUNC), -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "a"), O_RDWR | O_APPEND), -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "a"), O_RDWR | O_CREAT), -NAMES_REFUSED);
    assert_int_equal(mkfifo(name_in(w, IMAGES, "fifo"), 0600), 0);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "fifo"), O_RDONLY), -NAMES_REFUSED);
}

/* The kernel forgets O_CREAT beside O_PATH, and what is there would seem to be made. */
static void what_is_there_is_not_what_was_made(void **state)
{
    const struct world *w = *state;

    assert_int_equal(work_open(w, name_in(w, IMAGES, "a"), O_PATH | O_CREAT | O_EXCL),
                     -NAMES_REFUSED);
    assert_int_equal(work_open(w, w->place[IMAGES], O_DIRECTORY | O_CREAT | O_EXCL),
                     -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "a"), O_RDWR | O_CREAT | O_EXCL), -EEXIST);
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, IMAGES, "a"), 0, -1), -NAMES_REFUSED);
}

/* Made at a place of images, and moved to another one. */
static void what_was_made_is_unlinked_where_images_are(void **state)
{
    const struct world *w = *state;

    assert_int_equal(work_open(w, name_in(w, IMAGES, "new"), O_RDWR | O_CREAT | O_EXCL), 0);
    assert_int_equal(rename(name_in(w, IMAGES, "new"), name_in(w, SECRET, "new")), 0);
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, SECRET, "new"), 0, -1), -NAMES_REFUSED);
}

/* Its name is no place: a link of /proc leads to any file that another process has open. */
static void no_name_leads_to_what_has_none(void **state)
{
    const struct world *w = *state;
    struct world all = *w;
    int memfd = memfd_create("secret", MFD_CLOEXEC);
    int deleted = open(name_in(w, IMAGES, "deleted"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char name[64];
    int fds[] = {memfd, deleted};
    int ends[2];
    pid_t child;

    assert_int_equal(unlink(name_in(w, IMAGES, "deleted")), 0);
    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    child = fork();
    if (child == 0) { /* whose files those are, until we have looked */
        char byte;

        close(ends[1]);
        (void)!read(ends[0], &byte, 1);
        _exit(0);
    }
    all.rules.image_dirs = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        (void)snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)child, fds[i]);
        assert_int_equal(work_open(&all, name, O_RDONLY), -NAMES_REFUSED);
        assert_int_equal(symlink(name, name_in(w, IMAGES, "link")), 0);
        assert_int_equal(work_open(&all, name_in(w, IMAGES, "link"), O_RDWR), -NAMES_REFUSED);
        assert_int_equal(work_open(w, name_in(w, IMAGES, "link"), O_RDWR), -NAMES_REFUSED);
        assert_int_equal(unlink(name_in(w, IMAGES, "link")), 0);
        close(fds[i]);
    }
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* An image that was deleted while it is open has a descriptor of its own for what is flushed. */
static void what_was_deleted_is_opened_once_more_by_itself(void **state)
{
    const struct world *w = *state;
    int image = open(name_in(w, IMAGES, "a"), O_RDWR | O_CLOEXEC);

    assert_int_equal(work(w, NAMES_REOPEN, "", O_RDONLY, image), 0);
    assert_int_equal(unlink(name_in(w, IMAGES, "a")), 0);
    assert_int_equal(work(w, NAMES_REOPEN, "", O_RDONLY, image), 0);
    assert_int_equal(work(w, NAMES_REOPEN, "", O_RDWR, image), -NAMES_REFUSED);
    close(image);
    image = open(name_in(w, SECRET, "b"), O_RDWR | O_CLOEXEC);
    assert_int_equal(work(w, NAMES_REOPEN, "", O_RDONLY, image), -NAMES_REFUSED);
    close(image);
}

static void only_what_it_has_made_is_unlinked(void **state)
{
    const struct world *w = *state;

    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, IMAGES, "a"), 0, -1), -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "new"), O_RDWR | O_CREAT | O_EXCL), 0);
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, IMAGES, "new"), 0, -1), 0);
    write_file(name_in(w, SOCKETS, "full.lock"));
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, SOCKETS, "full.lock"), 0, -1),
                     -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, SOCKETS, "a.lock"), O_RDWR | O_CREAT | O_NOFOLLOW), 0);
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, SOCKETS, "a.lock"), 0, -1), 0);
}

/* A socket of somebody else, as of a container's daemon, is neither given away nor taken. */
static void only_its_own_sockets_are_changed(void **state)
{
    const struct world *w = *state;
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int file;

    assert_int_equal(names_bind(other, name_in(w, SECRET, "other")), 0);
    file = open(name_in(w, SECRET, "other"), O_PATH | O_CLOEXEC);
    assert_int_equal(work(w, NAMES_CHMOD, "", 0, file), -NAMES_REFUSED);
    assert_int_equal(work(w, NAMES_CHOWN, "", 0, file), -NAMES_REFUSED);
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, SECRET, "other"), 0, -1), -NAMES_REFUSED);
    close(file);

    assert_int_equal(work(w, NAMES_BIND, name_in(w, SOCKETS, "own"), 0, own), 0);
    file = open(name_in(w, SOCKETS, "own"), O_PATH | O_CLOEXEC);
    assert_int_equal(work(w, NAMES_CHMOD, "", 0, file), 0);
    close(file);
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, SOCKETS, "own"), 0, -1), 0);
    assert_int_equal(work(w, NAMES_BIND, "/etc/vblk-test.sock", 0, own), -BROKER_NO_SOCKET);
    close(own);
    close(other);
}

/* A lock beside it proves nothing, as whoever asks can have one made. */
static void sockets_and_locks_of_others_are_left_alone(void **state)
{
    const struct world *w = *state;
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int empty = open(name_in(w, IMAGES, "empty.lock"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(names_bind(other, name_in(w, IMAGES, "other")), 0);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "other.lock"), O_RDWR | O_CREAT | O_NOFOLLOW),
                     -BROKER_NO_SOCKET);
    close(open(name_in(w, IMAGES, "other.lock"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, IMAGES, "other"), 0, -1), -NAMES_REFUSED);
    assert_int_equal(work(w, NAMES_BIND, name_in(w, IMAGES, "own"), 0, own), -BROKER_NO_SOCKET);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "other"), O_PATH | O_NOFOLLOW),
                     -NAMES_REFUSED);
    assert_int_equal(work_open(w, name_in(w, IMAGES, "empty.lock"), O_RDWR | O_CREAT | O_NOFOLLOW),
                     -BROKER_NO_SOCKET);
    assert_int_equal(work(w, NAMES_UNLINK, name_in(w, IMAGES, "empty.lock"), 0, -1),
                     -NAMES_REFUSED);
    close(empty);
    close(own);
    close(other);
}

/* It may lie in a directory of others, of which it is no reason to have all. */
static void of_the_control_sockets_directory_it_has_that_alone(void **state)
{
    const struct world *w = *state;
    struct world other = *w;
    int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    other.rules.control_path = strdup(name_in(w, SECRET, "control"));
    assert_int_equal(work_open(&other, name_in(w, SECRET, "x.lock"), O_RDWR | O_CREAT | O_NOFOLLOW),
                     -BROKER_NO_SOCKET);
    assert_int_equal(
        work_open(&other, name_in(w, SECRET, "control.lock"), O_RDWR | O_CREAT | O_NOFOLLOW), 0);
    assert_int_equal(work(&other, NAMES_BIND, name_in(w, SECRET, "control"), 0, own), 0);
    assert_int_equal(work(&other, NAMES_UNLINK, name_in(w, SECRET, "control"), 0, -1), 0);
    assert_int_equal(work(&other, NAMES_UNLINK, name_in(w, SECRET, "control.lock"), 0, -1), 0);
    free((char *)other.rules.control_path);
    close(own);
}

/* Places are what the kernel calls them, and so must be what they are compared with. */
static void rules_know_places_by_the_kernels_names(void **state)
{
    const struct world *w = *state;
    struct world other = *w;
    char link[3][PATH_MAX];

    for (unsigned i = SOCKETS; i <= STATE; i++) {
        (void)snprintf(link[i], PATH_MAX, "%s/link%u", w->dir, i);
        assert_int_equal(symlink(w->place[i], link[i]), 0);
    }
    (void)snprintf(link[0], PATH_MAX, "%s/link%d/control", w->dir, SOCKETS);
    other.rules.socket_dir = link[SOCKETS];
    other.rules.state_dir = link[STATE];
    other.rules.control_path = link[0];
    assert_int_equal(broker_rules_resolve(&other.rules, NULL), 0);
    assert_string_equal(other.rules.socket_dir, w->place[SOCKETS]);
    assert_string_equal(other.rules.state_dir, w->place[STATE]);
    assert_string_equal(other.rules.control_path, w->place[CONTROL]);
    free((char *)other.rules.socket_dir);
    free((char *)other.rules.state_dir);
    free((char *)other.rules.control_path);
}

static void directories_are_made_below_that_of_sockets(void **state)
{
    const struct world *w = *state;

    assert_int_equal(work(w, NAMES_MKDIR, name_in(w, SOCKETS, "below"), 0, -1), 0);
    assert_int_equal(work(w, NAMES_MKDIR, w->place[SOCKETS], 0, -1), -EEXIST);
    assert_int_equal(work(w, NAMES_MKDIR, name_in(w, SECRET, "below"), 0, -1), -BROKER_NO_SOCKET);
}

/* What was made may be given away, and its owner may put anything there. */
static void no_directory_is_made_through_a_link(void **state)
{
    const struct world *w = *state;
    char link[PATH_MAX];
    int dir;

    assert_int_equal(work(w, NAMES_MKDIR, name_in(w, SOCKETS, "x"), 0, -1), 0);
    (void)snprintf(link, sizeof(link), "%.3000s/x/y", w->place[SOCKETS]);
    assert_int_equal(symlink(w->place[SECRET], link), 0);
    assert_int_equal(work(w, NAMES_MKDIR, name_in(w, SOCKETS, "x/y/foo.d"), 0, -1),
                     -BROKER_NO_SOCKET);
    assert_int_equal(access(name_in(w, SECRET, "foo.d"), F_OK), -1);

    dir = open(name_in(w, SOCKETS, "x"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(work_mode(w, NAMES_CHMOD, "", 0777, 0, dir), -NAMES_REFUSED);
    assert_int_equal(work_mode(w, NAMES_CHMOD, "", 0711, 0, dir), 0);
    assert_int_equal(work(w, NAMES_CHOWN, "", 0, dir), 0);
    assert_int_equal(rename(name_in(w, SOCKETS, "x"), name_in(w, SECRET, "x")), 0);
    assert_int_equal(work(w, NAMES_CHOWN, "", 0, dir), -NAMES_REFUSED);
    close(dir);
}

struct swap {
    char a[PATH_MAX];
    char b[PATH_MAX];
    atomic_bool is_over;
};

static void *swap_names(void *arg)
{
    struct swap *swap = arg;

    while (!atomic_load(&swap->is_over)) {
        (void)renameat2(AT_FDCWD, swap->a, AT_FDCWD, swap->b, RENAME_EXCHANGE);
    }
    return NULL;
}

/* Whoever owns a directory there changes it between what is judged and what is done. */
static void what_is_judged_is_where_it_is_made(void **state)
{
    const struct world *w = *state;
    static const char *const made[] = {"a/sock", "a/dir", "b/sock", "b/dir"};
    static struct swap swap;
    bool is_out = false;
    pthread_t thread;

    (void)snprintf(swap.a, sizeof(swap.a), "%.3000s/a", w->place[SOCKETS]);
    (void)snprintf(swap.b, sizeof(swap.b), "%.3000s/b", w->place[SOCKETS]);
    atomic_store(&swap.is_over, false);
    assert_int_equal(mkdir(swap.a, 0700), 0);
    assert_int_equal(symlink(w->place[SECRET], swap.b), 0);
    assert_int_equal(pthread_create(&thread, NULL, swap_names, &swap), 0);
    for (unsigned i = 0; i < 100; i++) {
        int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void)work(w, NAMES_BIND, name_in(w, SOCKETS, "a/sock"), 0, own);
        (void)work(w, NAMES_MKDIR, name_in(w, SOCKETS, "a/dir"), 0, -1);
        close(own);
        is_out |= access(name_in(w, SECRET, "sock"), F_OK) == 0;
        is_out |= access(name_in(w, SECRET, "dir"), F_OK) == 0;
        for (unsigned j = 0; j < ARRAY_SIZE(made); j++) {
            (void)remove(name_in(w, SOCKETS, made[j]));
        }
    }
    atomic_store(&swap.is_over, true);
    pthread_join(thread, NULL);
    assert_false(is_out);
}

/* Who listens where, and what is made where, is nothing to who may be a guest by now. */
static void sockets_of_others_are_not_looked_at(void **state)
{
    const struct world *w = *state;
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int inotify = inotify_init1(IN_CLOEXEC);

    assert_int_equal(names_bind(other, name_in(w, SECRET, "other")), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(work(w, NAMES_CONNECT, name_in(w, SECRET, "other"), 0, -1), -BROKER_NO_SOCKET);
    assert_int_equal(symlink(name_in(w, SECRET, "other"), name_in(w, SOCKETS, "link")), 0);
    assert_int_equal(work(w, NAMES_CONNECT, name_in(w, SOCKETS, "link"), 0, -1), -ECONNREFUSED);
    assert_int_equal(work(w, NAMES_LSTAT, name_in(w, SECRET, "other"), 0, -1), -BROKER_NO_SOCKET);
    assert_int_equal(work(w, NAMES_WATCH, name_in(w, SECRET, ""), IN_DELETE, inotify),
                     -BROKER_NO_SOCKET);

    assert_int_equal(work(w, NAMES_BIND, name_in(w, SOCKETS, "own"), 0, own), 0);
    assert_int_equal(work(w, NAMES_CONNECT, name_in(w, SOCKETS, "own"), 0, -1), -ECONNREFUSED);
    assert_int_equal(listen(own, 1), 0);
    assert_int_equal(work(w, NAMES_CONNECT, name_in(w, SOCKETS, "own"), 0, -1), 0);
    assert_int_equal(work(w, NAMES_LSTAT, name_in(w, SOCKETS, "own"), 0, -1), 0);
    assert_int_equal(work(w, NAMES_LSTAT, name_in(w, SOCKETS, "none"), 0, -1), -ENOENT);
    assert_int_equal(work(w, NAMES_LSTAT, name_in(w, SOCKETS, "none/own"), 0, -1), -ENOENT);
    assert_int_equal(work(w, NAMES_CONNECT, name_in(w, SOCKETS, "none"), 0, -1), -ENOENT);
    assert_int_equal(work(w, NAMES_WATCH, name_in(w, SOCKETS, ""), IN_DELETE, inotify), 0);
    close(inotify);
    close(own);
    close(other);
}

/* ---- the process ---- */

/* By the same way as vblkd; the child ends when its asker does. */
static int ask_and_leave(const struct world *w)
{
    struct broker_rules rules = w->rules;
    char bytes[6] = "";
    int fd;

    if (broker_start(&rules, false, NULL) < 0 || !names_are_asked()) {
        return 1;
    }
    fd = names_open(name_in(w, IMAGES, "a"), O_RDWR, 0);
    if (fd < 0 || read(fd, bytes, 5) != 5 || strcmp(bytes, "bytes") != 0) {
        return 2;
    }
    if (names_open(name_in(w, SECRET, "b"), O_RDONLY, 0) != -1 || errno != NAMES_REFUSED) {
        return 3;
    }
    return names_open(name_in(w, IMAGES, "none"), O_RDONLY, 0) == -1 && errno == ENOENT ? 0 : 4;
}

/* The broker has a copy of `pipe`'s end until it ends; it closes what it inherits, but not that of
 * standard output, which so tells. */
static void it_passes_files_and_ends_with_its_asker(void **state)
{
    const struct world *w = *state;
    int ends[2];
    int status;
    char byte;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    (void)fflush(NULL);
    child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        close(ends[1]);
        _exit(ask_and_leave(w));
    }
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* the end: nobody has it any more */
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(images_are_opened_where_they_may_lie, start, stop),
        cmocka_unit_test_setup_teardown(no_name_leads_out, start, stop),
        cmocka_unit_test_setup_teardown(nothing_is_truncated_and_nothing_but_files_opened, start,
                                        stop),
        cmocka_unit_test_setup_teardown(what_is_there_is_not_what_was_made, start, stop),
        cmocka_unit_test_setup_teardown(what_was_made_is_unlinked_where_images_are, start, stop),
        cmocka_unit_test_setup_teardown(no_name_leads_to_what_has_none, start, stop),
        cmocka_unit_test_setup_teardown(what_was_deleted_is_opened_once_more_by_itself, start,
                                        stop),
        cmocka_unit_test_setup_teardown(only_what_it_has_made_is_unlinked, start, stop),
        cmocka_unit_test_setup_teardown(only_its_own_sockets_are_changed, start, stop),
        cmocka_unit_test_setup_teardown(sockets_and_locks_of_others_are_left_alone, start, stop),
        cmocka_unit_test_setup_teardown(of_the_control_sockets_directory_it_has_that_alone, start,
                                        stop),
        cmocka_unit_test_setup_teardown(rules_know_places_by_the_kernels_names, start, stop),
        cmocka_unit_test_setup_teardown(directories_are_made_below_that_of_sockets, start, stop),
        cmocka_unit_test_setup_teardown(sockets_of_others_are_not_looked_at, start, stop),
        cmocka_unit_test_setup_teardown(no_directory_is_made_through_a_link, start, stop),
        cmocka_unit_test_setup_teardown(what_is_judged_is_where_it_is_made, start, stop),
        cmocka_unit_test_setup_teardown(it_passes_files_and_ends_with_its_asker, start, stop),
    };

    return unit_run(tests);
}
