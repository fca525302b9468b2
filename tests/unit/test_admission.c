/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/admission.h"

#define STRANGER 54321
#define THEIR_GROUP 54322
#define OTHER_GROUP 54323

/* ---- what may be said ---- */

static void names_and_numbers_are_taken(void **state)
{
    struct admission admission = {.count = 0};

    assert_int_equal(admission_add(&admission, "root:read,54321", false, NULL), 0);
    assert_int_equal(admission_add(&admission, "54322:read", true, NULL), 0);
    assert_int_equal(admission.count, 3);
    assert_int_equal(admission.list[0].id, 0);
    assert_int_equal(admission.list[0].rights, RIGHTS_READ);
    assert_false(admission.list[0].is_group);
    assert_int_equal(admission.list[1].id, STRANGER);
    assert_int_equal(admission.list[1].rights, RIGHTS_CHANGE);
    assert_int_equal(admission.list[2].id, THEIR_GROUP);
    assert_true(admission.list[2].is_group);
}

static void refused(const char *text, bool is_group, const char *why)
{
    struct admission admission = {.count = 1};
    struct err err = {0};

    assert_int_equal(admission_add(&admission, text, is_group, &err), -EINVAL);
    assert_string_equal(err.text, why);
    assert_int_equal(admission.count, 1);
}

static void what_cannot_be_is_refused_as_a_whole(void **state)
{
    refused("", false, "\"\": give names or numbers, each alone or with :read");
    refused("root,", false, "\"\": give names or numbers, each alone or with :read");
    refused("root,,root", true, "\"\": give names or numbers, each alone or with :read");
    refused("root:write", false, "\"root:write\": give names or numbers, each alone or with :read");
    refused(":read", false, "\"\": give names or numbers, each alone or with :read");
    refused("root,no-such-user", false, "there is no user \"no-such-user\" on this host");
    refused("no-such-group", true, "there is no group \"no-such-group\" on this host");
    refused("12x", false, "\"12x\" is no number from 0 to 4294967294");
    refused("4294967295", false, "\"4294967295\" is no number from 0 to 4294967294");
    refused("99999999999999999999999", false,
            "\"99999999999999999999999\" is no number from 0 to 4294967294");
}

static void names_are_not_endless(void **state)
{
    char name[512];

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    refused(name, false, "a name is longer than 263 bytes");
}

static void there_is_a_limit_to_them(void **state)
{
    struct admission admission = {.count = 0};
    struct err err = {0};

    for (unsigned i = 0; i < ADMISSIONS_MAX; i++) {
        assert_int_equal(admission_add(&admission, "1", false, NULL), 0);
    }
    assert_int_equal(admission_add(&admission, "1", true, &err), -ENOSPC);
    assert_int_equal(admission.count, ADMISSIONS_MAX);
}

/* ---- who is there ---- */

/* In a process of its own: connect, and stay until the other end has seen enough. */
static void be_stranger(int listener, gid_t gid, const gid_t *groups, size_t count)
{
    struct sockaddr_un address;
    socklen_t len = sizeof(address);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte;

    if (setgroups(count, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
        setresuid(STRANGER, STRANGER, STRANGER) < 0) {
        _exit(1);
    }
    if (getsockname(listener, (struct sockaddr *)&address, &len) < 0 ||
        connect(fd, (struct sockaddr *)&address, len) < 0) {
        _exit(2);
    }
    _exit(read(fd, &byte, 1) == 0 ? 0 : 3);
}

/* What a stranger with these groups may do. */
static enum rights rights_of(const struct admission *admission, gid_t gid, const gid_t *groups,
                             size_t count)
{
    static const sa_family_t any_name = AF_UNIX;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    enum rights rights;
    pid_t child;
    int status;
    int fd;

    assert_int_equal(bind(listener, (const struct sockaddr *)&any_name, sizeof(any_name)), 0);
    assert_int_equal(listen(listener, 1), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        be_stranger(listener, gid, groups, count);
    }
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    rights = admission_rights(admission, fd);
    close(fd);
    close(listener);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return rights;
}

static void only_root_can_be_somebody_else(void)
{
    if (geteuid() != 0) {
        skip();
    }
}

static void strangers_have_what_is_given_to_them(void **state)
{
    static const gid_t other[] = {OTHER_GROUP};
    struct admission admission = {.count = 0};

    only_root_can_be_somebody_else();
    assert_int_equal(rights_of(&admission, THEIR_GROUP, other, 1), RIGHTS_NONE);
    assert_int_equal(admission_add(&admission, "54323", false, NULL), 0);
    assert_int_equal(admission_add(&admission, "54321", true, NULL), 0);
    assert_int_equal(rights_of(&admission, THEIR_GROUP, other, 1), RIGHTS_NONE);
    assert_int_equal(admission_add(&admission, "54321:read", false, NULL), 0);
    assert_int_equal(rights_of(&admission, THEIR_GROUP, other, 1), RIGHTS_READ);
    assert_int_equal(admission_add(&admission, "54323", true, NULL), 0);
    assert_int_equal(rights_of(&admission, THEIR_GROUP, NULL, 0), RIGHTS_READ);
    assert_int_equal(rights_of(&admission, THEIR_GROUP, other, 1), RIGHTS_CHANGE);
    assert_int_equal(rights_of(&admission, OTHER_GROUP, NULL, 0), RIGHTS_CHANGE);
}

static void one_of_many_groups_is_found(void **state)
{
    struct admission admission = {.count = 0};
    gid_t groups[2000];

    only_root_can_be_somebody_else();
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++) {
        groups[i] = 60000 + i;
    }
    assert_int_equal(admission_add(&admission, "61999:read", true, NULL), 0);
    assert_int_equal(rights_of(&admission, THEIR_GROUP, groups, ARRAY_SIZE(groups)), RIGHTS_READ);
    assert_int_equal(rights_of(&admission, THEIR_GROUP, groups, ARRAY_SIZE(groups) - 1),
                     RIGHTS_NONE);
}

static void own_user_may_do_all(void **state)
{
    static const struct admission none;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(admission_rights(&none, ends[0]), RIGHTS_OWNER);
    close(ends[0]);
    close(ends[1]);
}

static void what_is_no_socket_may_do_nothing(void **state)
{
    static const struct admission none;

    assert_int_equal(admission_rights(&none, -1), RIGHTS_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_taken),
        cmocka_unit_test(what_cannot_be_is_refused_as_a_whole),
        cmocka_unit_test(names_are_not_endless),
        cmocka_unit_test(there_is_a_limit_to_them),
        cmocka_unit_test(strangers_have_what_is_given_to_them),
        cmocka_unit_test(one_of_many_groups_is_found),
        cmocka_unit_test(own_user_may_do_all),
        cmocka_unit_test(what_is_no_socket_may_do_nothing),
    };

    return unit_run(tests);
}
