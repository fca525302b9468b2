/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#include "cmd/common/lookup.h"
#include "cmd/vm/acpi.h"
#include "cmd/vm/boot.h"
#include "cmd/vm/cpu.h"
#include "cmd/vm/ending.h"
#include "cmd/vm/layout.h"
#include "cmd/vm/vcpu.h"
#include "core/base/log.h"

#define CONSOLE_WAIT_MS 20 /* until the guest has read some of its input, or a pty is opened */

struct vm {
    const struct vm_options *options;
    struct machine machine;
    struct acpi_machine acpi;
    struct vcpu vcpu[VM_CPUS_MAX];
    unsigned vcpu_count;
    bool is_input_over;
};

/* ---- building ---- */

/* What QEMU's vhost-user-blk sets, and every back-end takes. */
#define QUEUE_SIZE 128u

static uint16_t queue_size(const struct lookup *found)
{
    return (uint16_t)(found->queue_size > 0 ? min_of(found->queue_size, QUEUE_SIZE) : QUEUE_SIZE);
}

static int add_disk(struct vm *vm, const struct disk_options *options, struct err *err)
{
    static const uint8_t mmio_irqs[] = LAYOUT_MMIO_IRQS;
    struct machine *machine = &vm->machine;
    struct disk *disk = &machine->disk[machine->disk_count];
    unsigned slot = 1 + machine->disk_count - vm->acpi.mmio_count;
    struct disk_opts opts = {.options = options, .queues = vm->options->cpus};
    struct lookup found;
    int ret = lookup_disk(&found, options->name, vm->options->control, err);

    if (ret < 0) {
        return ret;
    }
    opts.socket = found.socket;
    opts.queue_size = queue_size(&found);
    opts.line = disk_is_mmio(options) ? mmio_irqs[vm->acpi.mmio_count]
                                      : LAYOUT_IRQ_PCI + slot % LAYOUT_IRQ_PCI_COUNT;
    opts.mmio_addr = LAYOUT_MMIO + vm->acpi.mmio_count * VIRTIO_MMIO_BYTES;
    ret = disk_open(disk, &machine->kvm, &machine->ram, &opts, err);
    if (ret < 0) {
        return ret;
    }
    machine->disk_count++;
    if (disk->is_mmio) {
        vm->acpi.mmio[vm->acpi.mmio_count++] =
            (struct acpi_mmio){.addr = (uint32_t)opts.mmio_addr, .gsi = opts.line};
        return 0;
    }
    return pci_host_add(&machine->pci, &disk->pci.fn, (uint8_t)opts.line) < 0
               ? err_say(err, -ENOSPC, "%s: no slot is left", disk->name)
               : 0;
}

static int add_disks(struct vm *vm, struct err *err)
{
    for (unsigned i = 0; i < vm->options->disk_count; i++) {
        int ret = add_disk(vm, &vm->options->disk[i], err);

        if (ret < 0) {
            return ret;
        }
    }
    pci_host_assign(&vm->machine.pci, LAYOUT_PORT_PCI, LAYOUT_PCI_MEMORY);
    return 0;
}

static int load(struct vm *vm, uint64_t *entry, struct err *err)
{
    struct boot_options boot = {.kernel = vm->options->kernel,
                                .initrd = vm->options->initrd,
                                .command_line = vm->options->append};
    int ret = boot_load(&vm->machine.ram, &boot, entry, err);

    vm->acpi.cpus = vm->options->cpus;
    if (ret == 0) {
        acpi_write(&vm->machine.ram, &vm->acpi);
    }
    return ret;
}

static int add_vcpus(struct vm *vm, uint64_t entry, struct err *err)
{
    for (unsigned i = 0; i < vm->options->cpus; i++) {
        int ret = vcpu_open(&vm->vcpu[i], &vm->machine, i, vm->options->cpus, entry, err);

        if (ret < 0) {
            return ret;
        }
        vm->vcpu_count++;
    }
    return 0;
}

/* ---- running ---- */

enum { POLL_END, POLL_CONSOLE, POLL_COUNT };

static void serve_console(struct vm *vm)
{
    struct machine *machine = &vm->machine;
    uint8_t bytes[256];
    unsigned room = min_of(serial_room(&machine->serial), (unsigned)sizeof(bytes));
    int count = console_read(&machine->console, bytes, room);

    if (count == -ECANCELED) {
        machine_end(machine, EXIT_SUCCESS, NULL);
    } else if (count < 0) {
        vm->is_input_over = true;
    } else {
        serial_receive(&machine->serial, bytes, (unsigned)count);
    }
}

static bool has_room_for_input(struct vm *vm)
{
    bool has_room;

    (void)pthread_mutex_lock(&vm->machine.lock);
    has_room = serial_room(&vm->machine.serial) > 0;
    (void)pthread_mutex_unlock(&vm->machine.lock);
    return has_room;
}

/* A pseudo terminal that nobody has open hangs up at once, again and again. */
static bool is_idle_pty(const struct vm *vm, const struct pollfd *polled)
{
    return vm->machine.console.drops_output && (polled->revents & POLLHUP) != 0 &&
           (polled->revents & POLLIN) == 0;
}

/* The console's input.  Returns when the guest is over. */
static void run_loop(struct vm *vm)
{
    struct pollfd polled[POLL_COUNT] = {{.fd = vm->machine.end_fd, .events = POLLIN}};
    bool is_waiting = false;

    for (;;) {
        bool takes_input = !vm->is_input_over && !is_waiting && has_room_for_input(vm);
        bool looks_again = !vm->is_input_over && !takes_input;

        polled[POLL_CONSOLE] =
            (struct pollfd){.fd = takes_input ? vm->machine.console.in_fd : -1, .events = POLLIN};
        if (poll(polled, POLL_COUNT, looks_again ? CONSOLE_WAIT_MS : -1) < 0) {
            continue; /* EINTR */
        }
        if (polled[POLL_END].revents) {
            return;
        }
        is_waiting = is_idle_pty(vm, &polled[POLL_CONSOLE]);
        if (polled[POLL_CONSOLE].revents && !is_waiting) {
            (void)pthread_mutex_lock(&vm->machine.lock);
            serve_console(vm);
            (void)pthread_mutex_unlock(&vm->machine.lock);
        }
    }
}

static void print_exits(const struct vm *vm)
{
    uint64_t sum[VCPU_EXIT_KINDS] = {0};

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        for (unsigned kind = 0; kind < VCPU_EXIT_KINDS; kind++) {
            sum[kind] += vm->vcpu[i].exits[kind];
        }
    }
    for (unsigned kind = 0; kind < VCPU_EXIT_KINDS; kind++) {
        log_plain("exits %s %" PRIu64, vcpu_exit_name(kind), sum[kind]);
    }
    for (unsigned i = 0; i < vm->machine.disk_count; i++) {
        log_plain("exits notify %s %" PRIu64, vm->machine.disk[i].name,
                  disk_notify_writes(&vm->machine.disk[i]));
    }
}

static int run_guest(struct vm *vm, struct err *err)
{
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < vm->machine.disk_count; i++) {
        ret = disk_serve(&vm->machine.disk[i], err);
    }
    for (unsigned i = 0; ret == 0 && i < vm->vcpu_count; i++) {
        ret = vcpu_start(&vm->vcpu[i], err);
    }
    if (ret == 0) {
        run_loop(vm);
    } else {
        machine_end(&vm->machine, EXIT_FAILURE, "%s", err->text);
    }
    console_restore(); /* what follows may take long, and the keys are the user's again */
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        vcpu_stop(&vm->vcpu[i]);
    }
    return ret;
}

/* ---- taking apart, in reverse ---- */

static int build_and_run(struct vm *vm, struct err *err)
{
    struct machine *machine = &vm->machine;
    uint64_t entry = 0;
    int ret = add_disks(vm, err);

    if (ret == 0) {
        ret = load(vm, &entry, err);
    }
    if (ret == 0) {
        ret = add_vcpus(vm, entry, err);
    }
    if (ret == 0) {
        ret = console_open(&machine->console, vm->options->console, err);
    }
    if (ret == 0) {
        ret = run_guest(vm, err);
        console_close(&machine->console);
    }
    for (unsigned i = 0; i < machine->disk_count; i++) {
        disk_close(&machine->disk[i]);
    }
    if (ret == 0 && vm->options->shows_exits) {
        print_exits(vm);
    }
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        vcpu_close(&vm->vcpu[i]);
    }
    return ret;
}

static int open_ram(struct vm *vm, struct err *err)
{
    struct machine *machine = &vm->machine;
    uint64_t bytes = vm->options->memory_bytes;
    unsigned address_bits;
    int ret = cpu_address_bits(machine->kvm.fd, &address_bits, err);

    if (ret == 0) {
        ret = ram_check(bytes, address_bits, err);
    }
    return ret == 0 ? ram_open(&machine->ram, bytes, err) : ret;
}

static int with_machine(struct vm *vm, struct err *err)
{
    struct machine *machine = &vm->machine;
    int ret = kvm_open(&machine->kvm, err);

    if (ret < 0) {
        return ret;
    }
    ret = open_ram(vm, err);
    if (ret == 0) {
        ret = ram_show(&machine->ram, &machine->kvm, err);
        if (ret == 0) {
            ret = build_and_run(vm, err);
        }
        ram_close(&machine->ram);
    }
    kvm_close(&machine->kvm);
    return ret;
}

int vm_run(const struct vm_options *options)
{
    struct vm *vm = calloc(1, sizeof(*vm));
    struct ending ending;
    struct err err = {0};
    int ret;
    int status;

    if (!vm) {
        log_plain("vblkvm: out of memory");
        return EXIT_FAILURE;
    }
    vm->options = options;
    ret = machine_init(&vm->machine, &err);
    if (ret == 0) {
        ret = ending_open(&ending, &vm->machine, &err);
        if (ret == 0) {
            ret = with_machine(vm, &err);
            ending_close(&ending);
        }
        machine_fini(&vm->machine);
    }
    status = ret < 0 ? EXIT_FAILURE : vm->machine.status;
    if (ret < 0 || vm->machine.why[0]) {
        log_plain("vblkvm: %s", ret < 0 ? err.text : vm->machine.why);
    }
    free(vm);
    return status;
}
