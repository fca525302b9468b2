/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "core/base/chore.h"
#include "tests/unit/control_world.h"

static struct {
    struct control_world control;
    sem_t answer; /* what it waits for */
    sem_t undone;
    atomic_int runner; /* the number of its thread */
    atomic_int undoer;
    bool is_done;
} world;

static int start(void **state)
{
    (void)state;
    world.is_done = false;
    world.runner = 0;
    world.undoer = 0;
    assert_int_equal(sem_init(&world.answer, 0, 0), 0);
    assert_int_equal(sem_init(&world.undone, 0, 0), 0);
    control_world_start(&world.control, "chore");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    control_world_stop(&world.control);
    while (chore_abandoned() > 0) { /* or the test hangs */
        (void)usleep(1000);
    }
    return 0;
}

static void wait_posted(sem_t *sem)
{
    while (sem_wait(sem) < 0) {
    }
}

static void run(struct chore *chore)
{
    (void)chore;
    world.runner = gettid();
    wait_posted(&world.answer);
}

static void done(struct chore *chore)
{
    world.is_done = true;
    free(chore);
}

static void undo(struct chore *chore)
{
    world.undoer = gettid();
    free(chore);
    (void)sem_post(&world.undone);
}

static struct chore *send_chore(void)
{
    struct chore *chore = calloc(1, sizeof(*chore));

    assert_non_null(chore);
    *chore = (struct chore){.name = "chore", .run = run, .done = done, .undo = undo};
    assert_int_equal(chore_send(chore, &world.control.mailbox), 0);
    return chore;
}

static void sender_is_told(void **state)
{
    (void)state;
    (void)send_chore();
    (void)uv_run(&world.control.loop, UV_RUN_NOWAIT);
    assert_false(world.is_done);
    assert_int_equal(sem_post(&world.answer), 0);
    control_world_wait(&world.control, &world.is_done);
    assert_int_not_equal(world.runner, gettid());
    assert_int_equal(world.undoer, 0);
}

static void one_that_is_abandoned_undoes_itself(void **state)
{
    (void)state;
    chore_abandon(send_chore());
    assert_int_equal(chore_abandoned(), 1);
    assert_int_equal(sem_post(&world.answer), 0);
    wait_posted(&world.undone);
    assert_int_equal(world.undoer, world.runner);
    assert_false(world.is_done);
}

static void abandon_on_its_way(struct chore *chore)
{
    assert_int_equal(sem_post(&world.answer), 0);
    while (!mailbox_has_mail(&world.control.mailbox)) {
        (void)usleep(1000);
    }
    chore_abandon(chore);
    (void)uv_run(&world.control.loop, UV_RUN_NOWAIT);
    wait_posted(&world.undone);
}

/* Undoing may block as well. */
static void one_that_was_on_its_way_home_is_not_undone_there(void **state)
{
    (void)state;
    abandon_on_its_way(send_chore());
    assert_int_not_equal(world.undoer, gettid());
    assert_false(world.is_done);
}

/* No thread is started for that. */
static void one_that_only_has_to_be_freed_is_so_at_home(void **state)
{
    struct chore *chore = send_chore();

    (void)state;
    chore->is_undone_at_once = true;
    abandon_on_its_way(chore);
    assert_int_equal(world.undoer, gettid());
    assert_false(world.is_done);
    assert_int_equal(chore_abandoned(), 0);
}

#define chore_test(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        chore_test(sender_is_told),
        chore_test(one_that_is_abandoned_undoes_itself),
        chore_test(one_that_was_on_its_way_home_is_not_undone_there),
        chore_test(one_that_only_has_to_be_freed_is_so_at_home),
    };

    return unit_run(tests);
}
