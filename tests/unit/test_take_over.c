/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the process that takes disks over makes of the words of the one that has them. */

#define _GNU_SOURCE 1
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/given_json.h"
#include "daemon/take_over.h"

struct other {
    pthread_t thread;
    int sock;
    char answer;
    bool hears; /* what is said to it after that */
    char word;  /* that it was told */
};

static void *run_other(void *arg)
{
    struct other *other = arg;

    other->word = (char)parcel_hear(other->sock, 10000);
    if (!other->hears) {
        (void)shutdown(other->sock, SHUT_RD);
    }
    if (other->answer) {
        (void)parcel_say(other->sock, other->answer, 10000);
    }
    (void)shutdown(other->sock, SHUT_WR);
    return NULL;
}

static int commit_with(struct other *other, struct err *err)
{
    struct take_over take = {0};
    int sock[2];
    int ret;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
    take.sock = sock[0];
    other->sock = sock[1];
    assert_int_equal(pthread_create(&other->thread, NULL, run_other, other), 0);
    ret = take_over_commit(&take, err);
    pthread_join(other->thread, NULL);
    assert_int_equal(other->word, HAND_OVER_READY);
    close(sock[0]);
    close(sock[1]);
    return ret;
}

static void disks_are_ours_when_we_are_told(void **state)
{
    struct other other = {.answer = HAND_OVER_GO, .hears = true};
    struct err err = {0};

    assert_int_equal(commit_with(&other, &err), 0);
}

/* It has waited long enough for our word, and ended: if we ended as well, nobody would have them.
 */
static void disks_are_ours_when_who_told_us_has_ended_since(void **state)
{
    struct other other = {.answer = HAND_OVER_GO};
    struct err err = {0};

    assert_int_equal(commit_with(&other, &err), 0);
}

static void disks_stay_when_nothing_or_something_else_is_said(void **state)
{
    struct other silent = {.hears = true};
    struct other chatter = {.answer = 'x', .hears = true};
    struct err err = {0};

    assert_int_equal(commit_with(&silent, &err), -EPIPE);
    assert_int_equal(commit_with(&chatter, &err), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_are_ours_when_we_are_told),
        cmocka_unit_test(disks_are_ours_when_who_told_us_has_ended_since),
        cmocka_unit_test(disks_stay_when_nothing_or_something_else_is_said),
    };

    return unit_run(tests);
}
