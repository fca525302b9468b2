/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEVICE "/dev/kvm"
#define API_VERSION 12

/* Three pages and one for Intel's real mode, in the hole below the BIOS; any free place would do.
 */
#define IDENTITY_MAP_ADDR 0xfffbc000ull
#define TSS_ADDR 0xfffbd000ull

#define PIC_PINS 8u
#define PIC_CASCADE 2u

static const struct {
    int cap;
    const char *name;
} needed[] = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

static int open_device(struct kvm *kvm, struct err *err)
{
    int code;

    kvm->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (kvm->fd >= 0) {
        return 0;
    }
    code = err_set(err, -errno, "cannot open " DEVICE);
    if (code == -ENOENT) {
        err_hint(err, "load kvm_intel or kvm_amd, and see that the firmware allows it");
    } else if (code == -EACCES || code == -EPERM) {
        err_hint(err, "join the group kvm, or ask who runs this machine");
    }
    return code;
}

static int check_needs(const struct kvm *kvm, struct err *err)
{
    int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);

    if (version != API_VERSION) {
        return err_say(err, -ENOTSUP, DEVICE " speaks version %d of its API, not %d", version,
                       API_VERSION);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(needed); i++) {
        if (ioctl(kvm->fd, KVM_CHECK_EXTENSION, needed[i].cap) <= 0) {
            return err_say(err, -ENOTSUP, DEVICE " does not offer %s", needed[i].name);
        }
    }
    return 0;
}

static int create_chips(struct kvm *kvm, struct err *err)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    __u64 identity_map = IDENTITY_MAP_ADDR;

    if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0) {
        return err_set(err, -errno, "KVM_SET_IDENTITY_MAP_ADDR");
    }
    if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDR) < 0) {
        return err_set(err, -errno, "KVM_SET_TSS_ADDR");
    }
    if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0) {
        return err_set(err, -errno, "KVM_CREATE_IRQCHIP");
    }
    if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0) {
        return err_set(err, -errno, "KVM_CREATE_PIT2");
    }
    return 0;
}

/* ---- the table of interrupt routes; it is set as a whole ---- */

static void route_pin(struct kvm_irq_routing *table, unsigned gsi, unsigned chip, unsigned pin)
{
    table->entries[table->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = {.irqchip = chip, .pin = pin},
    };
}

/*
 * The timer, number 0, is at pin 2 of the IOAPIC, as in every PC; ACPI says so to the guest.
 * Source: ACPI 6.5, 5.2.12.5 "Interrupt Source Override Structure".
 */
static void route_pins(struct kvm_irq_routing *table)
{
    for (unsigned gsi = 0; gsi < 2 * PIC_PINS; gsi++) {
        if (gsi != PIC_CASCADE) {
            route_pin(table, gsi, gsi / PIC_PINS ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER,
                      gsi % PIC_PINS);
        }
    }
    for (unsigned gsi = 0; gsi < KVM_IOAPIC_PINS; gsi++) {
        if (gsi != PIC_CASCADE) {
            route_pin(table, gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? PIC_CASCADE : gsi);
        }
    }
}

static void route_messages(const struct kvm *kvm, struct kvm_irq_routing *table)
{
    for (unsigned i = 0; i < kvm->messages; i++) {
        const struct kvm_message *message = &kvm->message[i];

        if (message->is_set) {
            table->entries[table->nr++] = (struct kvm_irq_routing_entry){
                .gsi = KVM_IOAPIC_PINS + i,
                .type = KVM_IRQ_ROUTING_MSI,
                .u.msi = {.address_lo = (uint32_t)message->addr,
                          .address_hi = (uint32_t)(message->addr >> 32),
                          .data = message->data},
            };
        }
    }
}

static int set_routes(struct kvm *kvm, struct err *err)
{
    size_t most = 2 * (size_t)PIC_PINS + KVM_IOAPIC_PINS + kvm->messages;
    struct kvm_irq_routing *table = calloc(1, sizeof(*table) + most * sizeof(table->entries[0]));
    int ret = 0;

    if (!table) {
        return err_set(err, -ENOMEM, "interrupt routes");
    }
    route_pins(table);
    route_messages(kvm, table);
    if (ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, table) < 0) {
        ret = err_set(err, -errno, "KVM_SET_GSI_ROUTING with %u routes", table->nr);
    }
    free(table);
    return ret;
}

static int create_machine(struct kvm *kvm, struct err *err)
{
    int ret;

    kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
    if (kvm->vm_fd < 0) {
        return err_set(err, -errno, "KVM_CREATE_VM");
    }
    ret = create_chips(kvm, err);
    if (ret == 0) {
        ret = set_routes(kvm, err);
    }
    if (ret < 0) {
        close(kvm->vm_fd);
    }
    return ret;
}

int kvm_open(struct kvm *kvm, struct err *err)
{
    int ret;

    memset(kvm, 0, sizeof(*kvm));
    ret = open_device(kvm, err);
    if (ret < 0) {
        return ret;
    }
    ret = check_needs(kvm, err);
    if (ret == 0) {
        kvm->has_any_length = ioctl(kvm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
        ret = create_machine(kvm, err);
    }
    if (ret < 0) {
        close(kvm->fd);
        return ret;
    }
    (void)pthread_mutex_init(&kvm->lock, NULL); /* does not fail with these arguments */
    return 0;
}

void kvm_close(struct kvm *kvm)
{
    (void)pthread_mutex_destroy(&kvm->lock);
    close(kvm->vm_fd);
    close(kvm->fd);
}

int kvm_add_memory(struct kvm *kvm, uint64_t guest_addr, uint64_t size, void *host, struct err *err)
{
    struct kvm_userspace_memory_region region = {
        .slot = kvm->slots,
        .guest_phys_addr = guest_addr,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
    };

    if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        return err_set(err, -errno, "KVM_SET_USER_MEMORY_REGION at 0x%llx",
                       (unsigned long long)guest_addr);
    }
    kvm->slots++;
    return 0;
}

int kvm_vcpu_open(struct kvm *kvm, unsigned index, int *fd, struct err *err)
{
    int bytes = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (bytes < 0) {
        return err_set(err, -errno, "KVM_GET_VCPU_MMAP_SIZE");
    }
    *fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
    return *fd < 0 ? err_set(err, -errno, "KVM_CREATE_VCPU for processor %u", index) : bytes;
}

/* ---- the wires ---- */

static int wire_door(struct kvm *kvm, int fd, const struct kvm_door *door, bool is_on,
                     struct err *err)
{
    struct kvm_ioeventfd wire = {
        .addr = door->addr,
        .len = door->len             ? door->len
               : kvm->has_any_length ? 0
                                     : 2,
        .fd = fd,
        .datamatch = door->match,
        .flags = (door->has_match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (door->is_port ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (is_on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };

    if (ioctl(kvm->vm_fd, KVM_IOEVENTFD, &wire) < 0) {
        return err_set(err, -errno, "KVM_IOEVENTFD %s %s 0x%llx", is_on ? "at" : "off",
                       door->is_port ? "port" : "address", (unsigned long long)door->addr);
    }
    return 0;
}

int kvm_kick_on(struct kvm *kvm, int fd, const struct kvm_door *door, struct err *err)
{
    return wire_door(kvm, fd, door, true, err);
}

int kvm_kick_off(struct kvm *kvm, int fd, const struct kvm_door *door, struct err *err)
{
    return wire_door(kvm, fd, door, false, err);
}

int kvm_message_new(struct kvm *kvm)
{
    int gsi = -ENOSPC;

    (void)pthread_mutex_lock(&kvm->lock);
    if (kvm->messages < KVM_MESSAGES) {
        gsi = (int)(KVM_IOAPIC_PINS + kvm->messages++);
    }
    (void)pthread_mutex_unlock(&kvm->lock);
    return gsi;
}

int kvm_message_set(struct kvm *kvm, unsigned gsi, uint64_t addr, uint32_t data, struct err *err)
{
    struct kvm_message *message = &kvm->message[gsi - KVM_IOAPIC_PINS];
    int ret = 0;

    (void)pthread_mutex_lock(&kvm->lock);
    if (!message->is_set || message->addr != addr || message->data != data) {
        *message = (struct kvm_message){.addr = addr, .data = data, .is_set = true};
        ret = set_routes(kvm, err);
    }
    (void)pthread_mutex_unlock(&kvm->lock);
    return ret;
}

static int wire_call(struct kvm *kvm, const struct kvm_irqfd *wire, struct err *err)
{
    if (ioctl(kvm->vm_fd, KVM_IRQFD, wire) < 0) {
        return err_set(err, -errno, "KVM_IRQFD %s interrupt %u%s",
                       wire->flags & KVM_IRQFD_FLAG_DEASSIGN ? "off" : "for", wire->gsi,
                       wire->flags & KVM_IRQFD_FLAG_RESAMPLE ? " with resampling" : "");
    }
    return 0;
}

int kvm_call_on(struct kvm *kvm, int fd, unsigned gsi, int resample_fd, struct err *err)
{
    struct kvm_irqfd wire = {.fd = (uint32_t)fd, .gsi = gsi};

    if (resample_fd >= 0) {
        wire.flags = KVM_IRQFD_FLAG_RESAMPLE;
        wire.resamplefd = (uint32_t)resample_fd;
    }
    return wire_call(kvm, &wire, err);
}

int kvm_call_off(struct kvm *kvm, int fd, unsigned gsi, struct err *err)
{
    struct kvm_irqfd wire = {.fd = (uint32_t)fd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN};

    return wire_call(kvm, &wire, err);
}

/* A number in range on a chip that exists cannot fail. */
void kvm_line(const struct kvm *kvm, unsigned gsi, bool is_up)
{
    struct kvm_irq_level level = {.irq = gsi, .level = is_up};

    (void)ioctl(kvm->vm_fd, KVM_IRQ_LINE, &level);
}
