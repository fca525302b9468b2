/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include "daemon/worker.h"
#include "tests/unit/control_world.h"

#define MESSAGES 2000
#define ROUNDS 200
#define SENDERS 3

struct note {
    struct message message;
    struct bench *bench;
    unsigned number;
};

/* The test's thread is control. */
struct bench {
    struct control_world control;
    struct worker worker;
    struct note note[MESSAGES];
    struct message leave;
    unsigned seen;
    bool in_order;
    bool on_worker;
    bool has_ended;
};

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    b->in_order = true;
    b->on_worker = true;
    control_world_start(&b->control, "worker");
    *state = b;
    return 0;
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    control_world_stop(&b->control);
    free(b);
    return 0;
}

static void on_ended(struct worker *worker)
{
    containerof(worker, struct bench, worker)->has_ended = true;
}

static void run_leave(struct message *message)
{
    worker_leave(&containerof(message, struct bench, leave)->worker);
}

static void start(struct bench *b)
{
    struct err err = {0};

    b->has_ended = false;
    assert_int_equal(worker_start(&b->worker, "test", &b->control.mailbox, on_ended, &err), 0);
}

static void leave(struct bench *b)
{
    b->leave.run = run_leave;
    mailbox_send(&b->worker.mailbox, &b->leave);
    control_world_wait(&b->control, &b->has_ended);
}

static void run_note(struct message *message)
{
    struct note *note = containerof(message, struct note, message);
    struct bench *b = note->bench;

    b->in_order = b->in_order && note->number == b->seen;
    b->on_worker = b->on_worker && worker_is_current(&b->worker);
    b->seen++;
}

static void send_notes(struct bench *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        b->note[i] = (struct note){.message.run = run_note, .bench = b, .number = i};
        mailbox_send(&b->worker.mailbox, &b->note[i].message);
    }
}

static void messages_run_in_order_on_the_worker(void **state)
{
    struct bench *b = *state;

    start(b);
    send_notes(b, MESSAGES);
    leave(b);
    assert_int_equal(b->seen, MESSAGES);
    assert_true(b->in_order);
    assert_true(b->on_worker);
    assert_false(worker_is_current(&b->worker));
}

/* The answer to a message is the message. */
static void run_back(struct message *message)
{
    struct note *note = containerof(message, struct note, message);

    note->bench->seen++;
    note->bench->on_worker = worker_is_current(&note->bench->worker);
}

static void run_there(struct message *message)
{
    struct note *note = containerof(message, struct note, message);

    message->run = run_back;
    mailbox_send(note->bench->worker.control, message);
}

static void message_travels_there_and_back(void **state)
{
    struct bench *b = *state;

    start(b);
    b->note[0] = (struct note){.message.run = run_there, .bench = b};
    mailbox_send(&b->worker.mailbox, &b->note[0].message);
    while (b->seen == 0) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    assert_false(b->on_worker);
    leave(b);
}

/* Sending must be over before the loop goes, however fast the worker leaves. */
static void worker_comes_and_goes(void **state)
{
    struct bench *b = *state;

    for (unsigned round = 0; round < ROUNDS; round++) {
        b->seen = 0;
        start(b);
        send_notes(b, round % 4);
        leave(b);
        assert_int_equal(b->seen, round % 4);
    }
}

struct sender {
    pthread_t thread;
    struct bench *bench;
    struct note *notes;
    unsigned count;
};

static void run_count(struct message *message)
{
    containerof(message, struct note, message)->bench->seen++;
}

static void *send_many(void *arg)
{
    struct sender *sender = arg;

    for (unsigned i = 0; i < sender->count; i++) {
        sender->notes[i] = (struct note){.message.run = run_count, .bench = sender->bench};
        mailbox_send(&sender->bench->control.mailbox, &sender->notes[i].message);
    }
    return NULL;
}

static void nothing_is_lost_among_many_senders(void **state)
{
    struct bench *b = *state;
    struct sender sender[SENDERS];
    unsigned each = MESSAGES / SENDERS;

    for (unsigned i = 0; i < SENDERS; i++) {
        sender[i] = (struct sender){.bench = b, .notes = b->note + i * each, .count = each};
        assert_int_equal(pthread_create(&sender[i].thread, NULL, send_many, &sender[i]), 0);
    }
    while (b->seen < SENDERS * each) {
        uv_run(&b->control.loop, UV_RUN_ONCE);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(sender[i].thread, NULL);
    }
    assert_int_equal(b->seen, SENDERS * each);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(messages_run_in_order_on_the_worker),
        bench_test(message_travels_there_and_back),
        bench_test(worker_comes_and_goes),
        bench_test(nothing_is_lost_among_many_senders),
    };

    return unit_run(tests);
}
