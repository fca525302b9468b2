/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who waits for whom: a disk that is stopped keeps nobody waiting who wants something else. */
#include "cmd/vm/machine.h"

#include <fcntl.h>
#include <semaphore.h>
#include <unistd.h>

#include "cmd/vm/layout.h"
#include "tests/unit/unit.h"
#include "tests/unit/virtio_host.h"

#define DISKS 3u /* slow and quick by PCI, and one by virtio-mmio */
#define SLOW 0u
#define QUICK 1u
#define MMIO 2u

#define STATUS 0x14u /* in the common configuration */
#define DEADLINE_S 20u

static struct machine machine;
static struct virtio_host host[DISKS];
static struct virtio_host_ops slow_ops;
static sem_t is_stopping;
static sem_t may_stop;

static void slow_stop(void *arg, unsigned queue)
{
    (void)sem_post(&is_stopping);
    while (sem_wait(&may_stop) < 0) {
    }
}

static void add_pci(unsigned index, const struct virtio_host_ops *ops)
{
    struct disk *disk = &machine.disk[index];
    struct virtio_pci_opts opts = {
        .host = ops,
        .arg = &host[index],
        .queue_count = HOST_QUEUES,
        .queue_max = HOST_QUEUE_SIZE,
        .lock = &disk->lock,
        .has_modern = true,
        .has_legacy = true,
    };

    virtio_pci_init(&disk->pci, &opts);
    assert_int_equal(pci_host_add(&machine.pci, &disk->pci.fn, 16), index + 1);
}

static void add_mmio(unsigned index)
{
    struct virtio_mmio_opts opts = {
        .host = &virtio_host_ops,
        .arg = &host[index],
        .base = LAYOUT_MMIO,
        .queue_count = HOST_QUEUES,
        .queue_max = HOST_QUEUE_SIZE,
    };

    machine.disk[index].is_mmio = true;
    virtio_mmio_init(&machine.disk[index].mmio, &opts);
}

static int start(void **state)
{
    struct err err;

    (void)alarm(DEADLINE_S); /* who waits for ever has failed */
    memset(&machine, 0, sizeof(machine));
    assert_int_equal(machine_init(&machine, &err), 0);
    machine.kvm.vm_fd = -1;
    machine.console.out_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (unsigned i = 0; i < DISKS; i++) {
        virtio_host_init(&host[i]);
        (void)pthread_mutex_init(&machine.disk[i].lock, NULL);
    }
    slow_ops = virtio_host_ops;
    slow_ops.queue_stop = slow_stop;
    add_pci(SLOW, &slow_ops);
    add_pci(QUICK, &virtio_host_ops);
    add_mmio(MMIO);
    machine.disk_count = DISKS;
    pci_host_assign(&machine.pci, LAYOUT_PORT_PCI, LAYOUT_PCI_MEMORY);
    (void)sem_init(&is_stopping, 0, 0);
    (void)sem_init(&may_stop, 0, 0);
    return 0;
}

static int stop(void **state)
{
    (void)sem_destroy(&may_stop);
    (void)sem_destroy(&is_stopping);
    close(machine.console.out_fd);
    machine_fini(&machine);
    (void)alarm(0);
    return 0;
}

static uint64_t common(unsigned disk)
{
    return machine.disk[disk].pci.fn.bar[VIRTIO_PCI_BAR_MODERN].addr;
}

static void set(unsigned disk, uint32_t offset, uint64_t value, unsigned len)
{
    machine_write(&machine, false, common(disk) + offset, len, value);
}

static uint64_t get(unsigned disk, uint32_t offset, unsigned len)
{
    return machine_read(&machine, false, common(disk) + offset, len);
}

static void drive(unsigned disk)
{
    set(disk, STATUS, 3, 1);
    set(disk, 0x0c, (uint32_t)HOST_FEATURES, 4);
    set(disk, 0x08, 1, 4);
    set(disk, 0x0c, HOST_FEATURES >> 32, 4);
    set(disk, STATUS, 11, 1);
    for (unsigned i = 0; i < 3; i++) {
        set(disk, 0x20 + 8 * i, (i + 1) << 12, 8);
    }
    set(disk, 0x1c, 1, 2);
    set(disk, STATUS, 15, 1);
}

static void *reset_slow(void *arg)
{
    set(SLOW, STATUS, 0, 1);
    return NULL;
}

static void *read_slow(void *arg)
{
    *(uint64_t *)arg = get(SLOW, STATUS, 1);
    return NULL;
}

static pthread_t stop_slow(void)
{
    pthread_t thread;

    drive(SLOW);
    assert_int_equal(get(SLOW, STATUS, 1), 15);
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
    drive(QUICK);
    assert_int_equal(get(QUICK, STATUS, 1), 15);
    set(QUICK, STATUS, 0, 1);
    expect_log(&host[QUICK], "C2C0K0S0k0X0P0U0U2");
    (void)sem_post(&may_stop);
    (void)pthread_join(thread, NULL);
    assert_int_equal(get(SLOW, STATUS, 1), 0);
}

static void a_disk_that_stops_keeps_no_other_device_waiting(void **state)
{
    pthread_t thread = stop_slow();

    machine_write(&machine, true, LAYOUT_PORT_SERIAL + 7, 1, 0x5a);
    assert_int_equal(machine_read(&machine, true, LAYOUT_PORT_SERIAL + 7, 1), 0x5a);
    machine_write(&machine, true, LAYOUT_PORT_SERIAL, 1, 'x');
    assert_int_equal(config(0, 4), 0x12378086);
    assert_int_equal(config(1 + QUICK, 2), 0x1af4);
    assert_int_equal(machine_read(&machine, false, LAYOUT_ECAM, 4), 0x12378086);
    assert_int_equal(machine_read(&machine, false, LAYOUT_ECAM + ((1 + QUICK) << 15), 8) & 0xffff,
                     0x1af4);
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
