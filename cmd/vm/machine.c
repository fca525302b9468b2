/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/machine.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmd/vm/layout.h"

static void send_byte(void *arg, uint8_t byte)
{
    struct machine *machine = arg;

    console_write(&machine->console, byte);
}

static void serial_interrupt(void *arg, bool is_up)
{
    struct machine *machine = arg;

    kvm_line(&machine->kvm, LAYOUT_IRQ_SERIAL, is_up);
}

int machine_init(struct machine *machine, struct err *err)
{
    machine->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (machine->end_fd < 0) {
        return err_set(err, -errno, "eventfd");
    }
    (void)pthread_mutex_init(&machine->lock, NULL); /* does not fail with these arguments */
    (void)pthread_mutex_init(&machine->end_lock, NULL);
    serial_init(&machine->serial, send_byte, serial_interrupt, machine);
    pci_host_init(&machine->pci);
    return 0;
}

void machine_fini(struct machine *machine)
{
    pci_host_fini(&machine->pci);
    (void)pthread_mutex_destroy(&machine->end_lock);
    (void)pthread_mutex_destroy(&machine->lock);
    close(machine->end_fd);
}

void machine_end(struct machine *machine, int status, const char *fmt, ...)
{
    va_list args;

    (void)pthread_mutex_lock(&machine->end_lock);
    if (!machine->has_ended) {
        machine->has_ended = true;
        machine->status = status;
        if (fmt) {
            va_start(args, fmt);
            (void)vsnprintf(machine->why, sizeof(machine->why), fmt, args);
            va_end(args);
        }
    }
    (void)pthread_mutex_unlock(&machine->end_lock);
    (void)eventfd_write(machine->end_fd, 1);
}

/* ---- ports ---- */

static bool is_serial(uint64_t port)
{
    return port >= LAYOUT_PORT_SERIAL && port < LAYOUT_PORT_SERIAL + SERIAL_PORTS;
}

static bool is_pci_config(uint64_t port, unsigned len)
{
    return port >= PCI_HOST_PORT && port + len <= PCI_HOST_PORT + PCI_HOST_PORTS;
}

static uint8_t read_serial(struct machine *machine, unsigned reg)
{
    uint8_t value;

    (void)pthread_mutex_lock(&machine->lock);
    value = serial_read(&machine->serial, reg);
    (void)pthread_mutex_unlock(&machine->lock);
    return value;
}

static void write_serial(struct machine *machine, unsigned reg, uint8_t value)
{
    (void)pthread_mutex_lock(&machine->lock);
    serial_write(&machine->serial, reg, value);
    (void)pthread_mutex_unlock(&machine->lock);
}

static uint32_t port_read(struct machine *machine, uint16_t port, unsigned len)
{
    uint32_t value;

    if (is_serial(port)) {
        return read_serial(machine, port - LAYOUT_PORT_SERIAL);
    }
    if (ports_read(&machine->ports, port, len, &value) ||
        pci_host_read(&machine->pci, true, port, len, &value)) {
        return value;
    }
    return is_pci_config(port, len) ? pci_host_config_read(&machine->pci, port, len) : UINT32_MAX;
}

static void port_write(struct machine *machine, uint16_t port, unsigned len, uint32_t value)
{
    if (is_serial(port)) {
        write_serial(machine, port - LAYOUT_PORT_SERIAL, (uint8_t)value);
        return;
    }
    switch (ports_write(&machine->ports, port, len, value)) {
    case PORTS_OFF:
    case PORTS_RESET:
        machine_end(machine, EXIT_SUCCESS, NULL);
        return;
    case PORTS_DONE:
        return;
    case PORTS_NONE:
        break;
    }
    if (!pci_host_write(&machine->pci, true, port, len, value) && is_pci_config(port, len)) {
        pci_host_config_write(&machine->pci, port, value, len);
    }
}

/* ---- memory ---- */

static struct disk *mmio_at(struct machine *machine, uint64_t addr, unsigned len)
{
    for (unsigned i = 0; i < machine->disk_count; i++) {
        struct disk *disk = &machine->disk[i];

        if (disk->is_mmio && addr >= disk->mmio.base &&
            range_ok(addr - disk->mmio.base, len, VIRTIO_MMIO_BYTES)) {
            return disk;
        }
    }
    return NULL;
}

static bool is_ecam(uint64_t addr, unsigned len)
{
    return addr >= LAYOUT_ECAM && range_ok(addr - LAYOUT_ECAM, len, PCI_ECAM_BYTES);
}

static uint32_t memory_read(struct machine *machine, uint64_t addr, unsigned len)
{
    struct disk *disk = mmio_at(machine, addr, len);
    uint32_t value = UINT32_MAX;

    if (is_ecam(addr, len)) {
        return pci_host_ecam_read(&machine->pci, (uint32_t)(addr - LAYOUT_ECAM), len);
    }
    if (disk) {
        return disk_mmio_read(disk, (uint32_t)(addr - disk->mmio.base), len);
    }
    (void)pci_host_read(&machine->pci, false, addr, len, &value);
    return value;
}

static void memory_write(struct machine *machine, uint64_t addr, unsigned len, uint32_t value)
{
    struct disk *disk = mmio_at(machine, addr, len);

    if (is_ecam(addr, len)) {
        pci_host_ecam_write(&machine->pci, (uint32_t)(addr - LAYOUT_ECAM), value, len);
    } else if (disk) {
        disk_mmio_write(disk, (uint32_t)(addr - disk->mmio.base), value, len);
    } else {
        (void)pci_host_write(&machine->pci, false, addr, len, value);
    }
}

/*
 * ---- the door ----
 *
 * KVM hands on 1 to 8 bytes: it cuts in two what crosses a page.  Behind this are lengths that a
 * bus has, 4, 2 and 1, the lower bytes first; 8 bytes are two accesses as well.
 */

static unsigned part_of(unsigned len)
{
    return len >= 4 ? 4 : len >= 2 ? 2 : 1;
}

static uint64_t read_part(struct machine *machine, bool is_port, uint64_t addr, unsigned len)
{
    uint32_t value =
        is_port ? port_read(machine, (uint16_t)addr, len) : memory_read(machine, addr, len);

    return value & (UINT32_MAX >> (32 - 8 * len));
}

static void write_part(struct machine *machine, bool is_port, uint64_t addr, unsigned len,
                       uint64_t bytes)
{
    uint32_t value = (uint32_t)bytes & (UINT32_MAX >> (32 - 8 * len));

    if (is_port) {
        port_write(machine, (uint16_t)addr, len, value);
    } else {
        memory_write(machine, addr, len, value);
    }
}

uint64_t machine_read(struct machine *machine, bool is_port, uint64_t addr, unsigned len)
{
    uint64_t value = 0;
    unsigned part;

    assert(len >= 1 && len <= sizeof(value));
    for (unsigned done = 0; done < len; done += part) {
        part = part_of(len - done);
        value |= read_part(machine, is_port, addr + done, part) << (8 * done);
    }
    return value;
}

void machine_write(struct machine *machine, bool is_port, uint64_t addr, unsigned len,
                   uint64_t value)
{
    unsigned part;

    assert(len >= 1 && len <= sizeof(value));
    for (unsigned done = 0; done < len; done += part) {
        part = part_of(len - done);
        write_part(machine, is_port, addr + done, part, value >> (8 * done));
    }
}
