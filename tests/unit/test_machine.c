/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who waits for whom: a disk that is stopped keeps nobody waiting who wants something else. */
#include "tests/unit/machine_world.h"

#include <semaphore.h>
#include <unistd.h>

#include "cmd/vm/layout.h"
#include "tests/unit/unit.h"

#define DEADLINE_S 60u

static struct virtio_host_ops slow_ops;
static sem_t is_stopping;
static sem_t may_stop;

static void slow_stop(void *arg, unsigned queue)
{
    (void)sem_post(&is_stopping);
    while (sem_wait(&may_stop) < 0) {
    }
}

static int start(void **state)
{
    (void)alarm(DEADLINE_S); /* who waits for ever has failed */
    slow_ops = virtio_host_ops;
    slow_ops.queue_stop = slow_stop;
    machine_world_start(&slow_ops);
    (void)sem_init(&is_stopping, 0, 0);
    (void)sem_init(&may_stop, 0, 0);
    return 0;
}

static int stop(void **state)
{
    (void)sem_destroy(&may_stop);
    (void)sem_destroy(&is_stopping);
    machine_world_stop();
    (void)alarm(0);
    return 0;
}

static void *reset_slow(void *arg)
{
    world_set(WORLD_SLOW, WORLD_STATUS, 0, 1);
    return NULL;
}

static void *read_slow(void *arg)
{
    *(uint64_t *)arg = world_get(WORLD_SLOW, WORLD_STATUS, 1);
    return NULL;
}

static pthread_t stop_slow(void)
{
    pthread_t thread;

    world_drive(WORLD_SLOW);
    assert_int_equal(world_get(WORLD_SLOW, WORLD_STATUS, 1), 15);
    assert_int_equal(pthread_create(&thread, NULL, reset_slow, NULL), 0);
    while (sem_wait(&is_stopping) < 0) {
    }
    return thread;
}

static uint64_t config(unsigned slot, unsigned len)
{
    machine_write(&machine, true, PCI_HOST_PORT, 4, 0x80000000u | slot << 11);
    return machine_read(&machine, true, PCI_HOST_PORT + 4, len);
}

static void a_disk_that_stops_keeps_no_other_waiting(void **state)
{
    pthread_t thread = stop_slow();

    assert_int_equal(machine_read(&machine, false, LAYOUT_MMIO, 4), 0x74726976);
    world_drive(WORLD_QUICK);
    assert_int_equal(world_get(WORLD_QUICK, WORLD_STATUS, 1), 15);
    world_set(WORLD_QUICK, WORLD_STATUS, 0, 1);
    expect_log(&world_host[WORLD_QUICK], "C2C0K0S0k0X0P0U0U2");
    (void)sem_post(&may_stop);
    (void)pthread_join(thread, NULL);
    assert_int_equal(world_get(WORLD_SLOW, WORLD_STATUS, 1), 0);
}

static void a_disk_that_stops_keeps_no_other_device_waiting(void **state)
{
    pthread_t thread = stop_slow();

    machine_write(&machine, true, LAYOUT_PORT_SERIAL + 7, 1, 0x5a);
    assert_int_equal(machine_read(&machine, true, LAYOUT_PORT_SERIAL + 7, 1), 0x5a);
    machine_write(&machine, true, LAYOUT_PORT_SERIAL, 1, 'x');
    assert_int_equal(config(0, 4), 0x12378086);
    assert_int_equal(config(1 + WORLD_QUICK, 2), 0x1af4);
    assert_int_equal(machine_read(&machine, false, LAYOUT_ECAM, 4), 0x12378086);
    assert_int_equal(
        machine_read(&machine, false, LAYOUT_ECAM + ((1 + WORLD_QUICK) << 15), 8) & 0xffff, 0x1af4);
    machine_write(&machine, true, LAYOUT_PORT_CMOS, 1, 0x0d);
    assert_int_equal(machine_read(&machine, true, LAYOUT_PORT_CMOS + 1, 1), 0x80);
    machine_write(&machine, true, LAYOUT_PORT_RESET, 1, 6);
    assert_true(machine.has_ended);
    (void)sem_post(&may_stop);
    (void)pthread_join(thread, NULL);
}

static void who_wants_the_same_disk_waits(void **state)
{
    pthread_t thread = stop_slow();
    uint64_t status = UINT64_MAX;
    pthread_t reader;

    assert_int_equal(pthread_create(&reader, NULL, read_slow, &status), 0);
    (void)sem_post(&may_stop);
    (void)pthread_join(thread, NULL);
    (void)pthread_join(reader, NULL);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_disk_that_stops_keeps_no_other_waiting, start, stop),
        cmocka_unit_test_setup_teardown(a_disk_that_stops_keeps_no_other_device_waiting, start,
                                        stop),
        cmocka_unit_test_setup_teardown(who_wants_the_same_disk_waits, start, stop),
    };

    return unit_run(tests);
}
