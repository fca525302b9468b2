/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Source: ACPI 6.5, 5.2 "ACPI System Description Tables"; section numbers at each table.
 */
#include "cmd/vm/acpi.h"

#include <assert.h>
#include <stdio.h>

#include "cmd/vm/aml.h"
#include "cmd/vm/layout.h"
#include "transports/vmm/pci_host.h"
#include "transports/vmm/virtio_mmio.h"

struct header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem[6];
    char oem_table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
} __attribute__((packed));

/* 5.2.5.3 "Root System Description Pointer (RSDP) Structure" */
struct rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t checksum_all;
    uint8_t reserved[3];
} __attribute__((packed));

/* 5.2.3.2 "Generic Address Structure" */
struct address {
    uint8_t space; /* 1: port */
    uint8_t bits;
    uint8_t offset;
    uint8_t access;
    uint64_t addr;
} __attribute__((packed));

/* 5.2.9 "Fixed ACPI Description Table (FADT)", as of ACPI 2.0: with a way to reset. */
struct fadt {
    struct header header;
    uint32_t facs;
    uint32_t dsdt;
    uint8_t reserved0;
    uint8_t profile;
    uint16_t sci;
    uint32_t smi_command; /* 0: always in ACPI mode */
    uint8_t unused0[4];
    uint32_t pm1a_event;
    uint32_t pm1b_event;
    uint32_t pm1a_control;
    uint8_t unused1[20];
    uint8_t pm1_event_bytes;
    uint8_t pm1_control_bytes;
    uint8_t unused2[6];
    uint16_t c2_latency;
    uint16_t c3_latency;
    uint8_t unused3[6];
    uint8_t day_alarm;
    uint8_t month_alarm;
    uint8_t century;
    uint16_t boot_flags;
    uint8_t reserved1;
    uint32_t flags;
    struct address reset;
    uint8_t reset_value;
    uint8_t unused4[3];
    uint8_t extended[112];
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 244, "ACPI, FADT of revision 3");

#define FADT_REVISION 3
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_NO_POWER_BUTTON (1u << 4)
#define FADT_NO_SLEEP_BUTTON (1u << 5)
#define FADT_RESET (1u << 10)
#define BOOT_NO_VGA (1u << 2)
#define NO_C2 101 /* microseconds: more than these mean that there is none */
#define NO_C3 1001

/* 5.2.12 "Multiple APIC Description Table (MADT)" */
struct madt {
    struct header header;
    uint32_t local_apic;
    uint32_t flags; /* 1: there are also PICs */
} __attribute__((packed));

struct madt_cpu {
    uint8_t type, length, processor, apic_id;
    uint32_t flags; /* 1: it can be used */
} __attribute__((packed));

struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t addr;
    uint32_t first_gsi;
} __attribute__((packed));

struct madt_override {
    uint8_t type, length, bus, irq;
    uint32_t gsi;
    uint16_t flags;
} __attribute__((packed));

#define LEVEL_HIGH 0x0du

/* PCI Firmware Specification 3.0, 4.1.2 "MCFG Table Description": one bus. */
struct mcfg {
    struct header header;
    uint8_t reserved0[8];
    uint64_t addr;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint8_t reserved1[4];
} __attribute__((packed));

/* Tables one behind the other. */
struct writer {
    uint8_t *at;    /* our address */
    uint32_t guest; /* the guest's */
    const uint8_t *end;
};

static uint8_t checksum(const void *table, size_t len)
{
    const uint8_t *bytes = table;
    uint8_t sum = 0;

    while (len-- > 0) {
        sum = (uint8_t)(sum + *bytes++);
    }
    return (uint8_t)-sum;
}

static void fill_header(struct header *header, const char *signature, uint8_t revision,
                        uint32_t length)
{
    *header = (struct header){
        .length = length, .revision = revision, .oem_revision = 1, .creator_revision = 1};
    memcpy(header->signature, signature, 4);
    memcpy(header->oem, "VBLK  ", 6);
    memcpy(header->oem_table, "VBLKVM  ", 8);
    memcpy(header->creator, "VBLK", 4);
    header->checksum = 0;
    header->checksum = checksum(header, length);
}

/* A table is complete: where is it, and go behind it. */
static uint32_t finish_table(struct writer *writer, size_t len)
{
    uint32_t addr = writer->guest;
    size_t step = round_up(len, 64);

    assert(writer->at + step <= writer->end);
    writer->at += step;
    writer->guest += (uint32_t)step;
    return addr;
}

/* ---- DSDT ---- */

/* Slot by slot, pin A only.  6.2.13 "_PRT (PCI Routing Table)". */
static void write_pci_routes(struct aml *aml)
{
    size_t routes;

    aml_name(aml, "_PRT");
    routes = aml_package_begin(aml, PCI_SLOTS - 1);
    for (uint32_t slot = 1; slot < PCI_SLOTS; slot++) {
        size_t route = aml_package_begin(aml, 4);

        aml_number(aml, slot << 16 | 0xffff);
        aml_number(aml, 0);
        aml_number(aml, 0);
        aml_number(aml, LAYOUT_IRQ_PCI + slot % LAYOUT_IRQ_PCI_COUNT);
        aml_end(aml, route);
    }
    aml_end(aml, routes);
}

static void write_pci(struct aml *aml)
{
    size_t device = aml_device_begin(aml, "PCI0");
    size_t resources;

    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0A03");
    aml_name(aml, "_CRS");
    resources = aml_resources_begin(aml);
    aml_bus_numbers(aml, 0, 0);
    aml_ports(aml, PCI_HOST_PORT, PCI_HOST_PORTS);
    aml_port_window(aml, 0, PCI_HOST_PORT - 1);
    aml_port_window(aml, PCI_HOST_PORT + PCI_HOST_PORTS, 0xffff);
    aml_memory_window(aml, LAYOUT_PCI_MEMORY, LAYOUT_PCI_MEMORY_END);
    aml_resources_end(aml, resources);
    write_pci_routes(aml);
    aml_end(aml, device);
}

/* The name under which Linux looks for virtio-mmio: drivers/virtio/virtio_mmio.c. */
static void write_mmio(struct aml *aml, const struct acpi_mmio *mmio, unsigned index)
{
    char name[16];
    size_t device;
    size_t resources;

    (void)snprintf(name, sizeof(name), "VIR%X", index & 15);
    device = aml_device_begin(aml, name);
    aml_name(aml, "_HID");
    aml_text(aml, "LNRO0005");
    aml_name(aml, "_UID");
    aml_number(aml, index);
    aml_name(aml, "_CRS");
    resources = aml_resources_begin(aml);
    aml_memory(aml, mmio->addr, VIRTIO_MMIO_BYTES);
    aml_edge_interrupt(aml, mmio->gsi);
    aml_resources_end(aml, resources);
    aml_end(aml, device);
}

/* Power off: the value 0 with the enable bit, so 0x2000, at the control port. */
static void write_power_off(struct aml *aml)
{
    size_t package;

    aml_name(aml, "_S5_");
    package = aml_package_begin(aml, 2);
    aml_number(aml, 0);
    aml_number(aml, 0);
    aml_end(aml, package);
}

static uint32_t write_dsdt(struct writer *writer, const struct acpi_machine *machine)
{
    struct header *header = (struct header *)writer->at;
    struct aml aml;
    size_t scope;
    size_t len;

    aml_init(&aml, header + 1, (size_t)(writer->end - writer->at) - sizeof(*header));
    write_power_off(&aml);
    scope = aml_scope_begin(&aml, "_SB_");
    write_pci(&aml);
    for (unsigned i = 0; i < machine->mmio_count; i++) {
        write_mmio(&aml, &machine->mmio[i], i);
    }
    aml_end(&aml, scope);
    len = sizeof(*header) + aml.len;
    fill_header(header, "DSDT", 2, (uint32_t)len);
    return finish_table(writer, len);
}

/* ---- the fixed tables ---- */

/* 5.2.10 "Firmware ACPI Control Structure": there has to be one. */
static uint32_t write_facs(struct writer *writer)
{
    uint32_t len = 64;

    memcpy(writer->at, "FACS", 4);
    memcpy(writer->at + 4, &len, sizeof(len));
    return finish_table(writer, len);
}

static uint32_t write_fadt(struct writer *writer, uint32_t facs, uint32_t dsdt)
{
    struct fadt *fadt = (struct fadt *)writer->at;

    fadt->facs = facs;
    fadt->dsdt = dsdt;
    fadt->sci = LAYOUT_IRQ_ACPI;
    fadt->pm1a_event = LAYOUT_PORT_PM_EVENT;
    fadt->pm1a_control = LAYOUT_PORT_PM_CONTROL;
    fadt->pm1_event_bytes = 4;
    fadt->pm1_control_bytes = 2;
    fadt->c2_latency = NO_C2;
    fadt->c3_latency = NO_C3;
    fadt->boot_flags = BOOT_NO_VGA;
    fadt->flags =
        FADT_WBINVD | FADT_PROC_C1 | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON | FADT_RESET;
    fadt->reset = (struct address){.space = 1, .bits = 8, .access = 1, .addr = LAYOUT_PORT_RESET};
    fadt->reset_value = 6;
    fill_header(&fadt->header, "FACP", FADT_REVISION, sizeof(*fadt));
    return finish_table(writer, sizeof(*fadt));
}

static uint8_t *put(uint8_t *at, const void *entry, size_t len)
{
    memcpy(at, entry, len);
    return at + len;
}

static uint32_t write_madt(struct writer *writer, unsigned cpus)
{
    struct madt *madt = (struct madt *)writer->at;
    struct madt_ioapic ioapic = {1, sizeof(ioapic), (uint8_t)cpus, 0, LAYOUT_IOAPIC, 0};
    struct madt_override timer = {2, sizeof(timer), 0, 0, 2, 0};
    struct madt_override sci = {2, sizeof(sci), 0, LAYOUT_IRQ_ACPI, LAYOUT_IRQ_ACPI, LEVEL_HIGH};
    uint8_t *at = (uint8_t *)(madt + 1);
    uint32_t len;

    madt->local_apic = LAYOUT_LOCAL_APIC;
    madt->flags = 1;
    for (unsigned i = 0; i < cpus; i++) {
        struct madt_cpu cpu = {0, sizeof(cpu), (uint8_t)i, (uint8_t)i, 1};

        at = put(at, &cpu, sizeof(cpu));
    }
    at = put(at, &ioapic, sizeof(ioapic));
    at = put(at, &timer, sizeof(timer));
    at = put(at, &sci, sizeof(sci));
    len = (uint32_t)(at - (uint8_t *)madt);
    fill_header(&madt->header, "APIC", 3, len);
    return finish_table(writer, len);
}

static uint32_t write_mcfg(struct writer *writer)
{
    struct mcfg *mcfg = (struct mcfg *)writer->at;

    mcfg->addr = LAYOUT_ECAM;
    fill_header(&mcfg->header, "MCFG", 1, sizeof(*mcfg));
    return finish_table(writer, sizeof(*mcfg));
}

static uint32_t write_xsdt(struct writer *writer, uint32_t fadt, uint32_t madt, uint32_t mcfg)
{
    struct header *header = (struct header *)writer->at;
    uint64_t tables[] = {fadt, madt, mcfg};

    memcpy(header + 1, tables, sizeof(tables));
    fill_header(header, "XSDT", 1, sizeof(*header) + sizeof(tables));
    return finish_table(writer, sizeof(*header) + sizeof(tables));
}

void acpi_write(const struct ram *ram, const struct acpi_machine *machine)
{
    size_t room = LAYOUT_ACPI_END - LAYOUT_ACPI;
    struct rsdp *rsdp = ram_at(ram, LAYOUT_ACPI, room);
    struct writer writer = {(uint8_t *)rsdp, LAYOUT_ACPI, (uint8_t *)rsdp + room};
    uint32_t fadt;
    uint32_t madt;

    (void)finish_table(&writer, sizeof(*rsdp));
    fadt = write_dsdt(&writer, machine);
    fadt = write_fadt(&writer, write_facs(&writer), fadt);
    *rsdp = (struct rsdp){.revision = 2, .length = sizeof(*rsdp)};
    memcpy(rsdp->signature, "RSD PTR ", 8);
    memcpy(rsdp->oem, "VBLK  ", 6);
    madt = write_madt(&writer, machine->cpus);
    rsdp->xsdt = write_xsdt(&writer, fadt, madt, write_mcfg(&writer));
    rsdp->checksum = checksum(rsdp, 20);
    rsdp->checksum_all = checksum(rsdp, sizeof(*rsdp));
}
