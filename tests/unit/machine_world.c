/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/machine_world.h"

#include <fcntl.h>
#include <unistd.h>

#include "cmd/vm/layout.h"
#include "tests/unit/unit.h"

struct machine machine;
struct virtio_host world_host[WORLD_DISKS];

static void add_pci(unsigned index, const struct virtio_host_ops *ops)
{
    struct disk *disk = &machine.disk[index];
    struct virtio_pci_opts opts = {
        .host = ops,
        .arg = &world_host[index],
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
        .arg = &world_host[index],
        .base = LAYOUT_MMIO,
        .queue_count = HOST_QUEUES,
        .queue_max = HOST_QUEUE_SIZE,
    };

    machine.disk[index].is_mmio = true;
    virtio_mmio_init(&machine.disk[index].mmio, &opts);
}

void machine_world_start(const struct virtio_host_ops *slow)
{
    struct err err;

    memset(&machine, 0, sizeof(machine));
    assert_int_equal(machine_init(&machine, &err), 0);
    machine.kvm.vm_fd = -1;
    machine.console.out_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (unsigned i = 0; i < WORLD_DISKS; i++) {
        virtio_host_init(&world_host[i]);
        (void)pthread_mutex_init(&machine.disk[i].lock, NULL);
    }
    add_pci(WORLD_SLOW, slow);
    add_pci(WORLD_QUICK, &virtio_host_ops);
    add_mmio(WORLD_MMIO);
    machine.disk_count = WORLD_DISKS;
    pci_host_assign(&machine.pci, LAYOUT_PORT_PCI, LAYOUT_PCI_MEMORY);
}

void machine_world_stop(void)
{
    for (unsigned i = 0; i < WORLD_DISKS; i++) {
        (void)pthread_mutex_destroy(&machine.disk[i].lock);
    }
    close(machine.console.out_fd);
    machine_fini(&machine);
}

static uint64_t common(unsigned disk)
{
    return machine.disk[disk].pci.fn.bar[VIRTIO_PCI_BAR_MODERN].addr;
}

void world_set(unsigned disk, uint32_t offset, uint64_t value, unsigned len)
{
    machine_write(&machine, false, common(disk) + offset, len, value);
}

uint64_t world_get(unsigned disk, uint32_t offset, unsigned len)
{
    return machine_read(&machine, false, common(disk) + offset, len);
}

void world_drive(unsigned disk)
{
    world_set(disk, WORLD_STATUS, 3, 1);
    world_set(disk, 0x0c, (uint32_t)HOST_FEATURES, 4);
    world_set(disk, 0x08, 1, 4);
    world_set(disk, 0x0c, HOST_FEATURES >> 32, 4);
    world_set(disk, WORLD_STATUS, 11, 1);
    for (unsigned i = 0; i < 3; i++) {
        world_set(disk, 0x20 + 8 * i, (i + 1) << 12, 8);
    }
    world_set(disk, 0x1c, 1, 2);
    world_set(disk, WORLD_STATUS, 15, 1);
}
