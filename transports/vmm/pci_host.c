/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/vmm/pci_host.h"

#include <assert.h>
#include <errno.h>

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS 0x80fffffcu /* reserved ones read as zero */

#define DATA_PORT 0xcfcu

#define BAR_IO_FLAG 1u
#define CAPABILITIES_AT 0x40u

/* Intel 82441FX: one that every guest knows, and so looks for a bus behind it. */
#define BRIDGE_VENDOR 0x8086u
#define BRIDGE_DEVICE 0x1237u
#define BRIDGE_CLASS 0x0600u

uint32_t pci_config_get(const struct pci_function *fn, unsigned offset, unsigned len)
{
    uint32_t value = 0;

    assert(pci_is_len(len) && range_ok(offset, len, PCI_CONFIG_BYTES));
    memcpy(&value, fn->config + offset, len);
    return value;
}

void pci_config_set(struct pci_function *fn, unsigned offset, uint32_t value, unsigned len)
{
    assert(pci_is_len(len) && range_ok(offset, len, PCI_CONFIG_BYTES));
    memcpy(fn->config + offset, &value, len);
}

static void set_writable(struct pci_function *fn, unsigned offset, uint32_t bits, unsigned len)
{
    memcpy(fn->writable + offset, &bits, len);
}

void pci_function_init(struct pci_function *fn, const struct pci_function_ops *ops, uint16_t vendor,
                       uint16_t device, uint16_t class_code)
{
    memset(fn, 0, sizeof(*fn));
    fn->ops = ops;
    pci_config_set(fn, PCI_VENDOR, vendor, 2);
    pci_config_set(fn, PCI_DEVICE, device, 2);
    pci_config_set(fn, PCI_CLASS, class_code, 2);
    set_writable(fn, PCI_COMMAND,
                 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | 4 /* bus master */ | PCI_COMMAND_NO_INTX, 2);
    set_writable(fn, PCI_LINE, 0xff, 1);
}

/* The writable bits of a BAR are how a guest learns its size. */
void pci_function_add_bar(struct pci_function *fn, unsigned bar, uint32_t size, bool is_io)
{
    unsigned at = PCI_BAR0 + 4 * bar;

    assert(bar < PCI_BARS && is_power_of_2(size) && size >= 16);
    fn->bar[bar].size = size;
    fn->bar[bar].is_io = is_io;
    pci_config_set(fn, at, is_io ? BAR_IO_FLAG : 0, 4);
    set_writable(fn, at, is_io ? (uint16_t) ~(size - 1) : ~(size - 1), 4);
}

unsigned pci_function_add_capability(struct pci_function *fn, uint8_t id, unsigned len)
{
    unsigned at = fn->capabilities_end ? fn->capabilities_end : CAPABILITIES_AT;
    unsigned link = fn->last_capability ? fn->last_capability + 1 : PCI_CAPABILITIES;

    assert(range_ok(at, len, PCI_CONFIG_BYTES));
    pci_config_set(fn, PCI_STATUS, PCI_STATUS_CAPABILITIES, 2);
    fn->config[link] = (uint8_t)at;
    fn->config[at] = id;
    fn->last_capability = at;
    fn->capabilities_end = (unsigned)round_up(at + len, 4);
    return at;
}

void pci_host_init(struct pci_host *host)
{
    static const struct pci_function_ops no_ops;

    memset(host, 0, sizeof(*host));
    (void)pthread_mutex_init(&host->lock, NULL); /* does not fail with these arguments */
    pci_function_init(&host->bridge, &no_ops, BRIDGE_VENDOR, BRIDGE_DEVICE, BRIDGE_CLASS);
    host->bridge.lock = &host->lock;
    host->slot[0] = &host->bridge;
}

void pci_host_fini(struct pci_host *host)
{
    (void)pthread_mutex_destroy(&host->lock);
}

int pci_host_add(struct pci_host *host, struct pci_function *fn, uint8_t line)
{
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        if (!host->slot[slot]) {
            host->slot[slot] = fn;
            fn->config[PCI_LINE] = line;
            fn->config[PCI_PIN] = 1;
            return (int)slot;
        }
    }
    return -ENOSPC;
}

/* Where the BARs answer, after a change of one or of the command register. */
static void follow_bars(struct pci_function *fn)
{
    uint16_t command = (uint16_t)pci_config_get(fn, PCI_COMMAND, 2);
    bool has_moved = false;

    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &fn->bar[i];
        uint32_t addr = pci_config_get(fn, PCI_BAR0 + 4 * i, 4) & ~(bar->is_io ? 3u : 15u);
        bool is_on =
            bar->size && (command & (bar->is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) != 0;

        has_moved = has_moved || is_on != bar->is_on || addr != bar->addr;
        bar->is_on = is_on;
        bar->addr = addr;
    }
    if (has_moved && fn->ops->moved) {
        fn->ops->moved(fn);
    }
}

static void assign_function(struct pci_function *fn, uint32_t *ports, uint32_t *memory)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &fn->bar[i];
        uint32_t *next = bar->is_io ? ports : memory;

        if (bar->size) {
            *next = (uint32_t)round_up(*next, bar->size);
            pci_config_set(fn, PCI_BAR0 + 4 * i, *next | (bar->is_io ? BAR_IO_FLAG : 0), 4);
            *next += bar->size;
        }
    }
    pci_config_set(fn, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
    follow_bars(fn);
}

void pci_host_assign(struct pci_host *host, uint32_t ports, uint32_t memory)
{
    for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
        if (host->slot[slot]) {
            assign_function(host->slot[slot], &ports, &memory);
        }
    }
}

static void lock(const struct pci_function *fn)
{
    if (fn->lock) {
        (void)pthread_mutex_lock(fn->lock);
    }
}

static void unlock(const struct pci_function *fn)
{
    if (fn->lock) {
        (void)pthread_mutex_unlock(fn->lock);
    }
}

/* ---- ports CF8 to CFF ---- */

/* Which function's configuration the data ports show.  NULL: none, reads give all ones. */
static struct pci_function *selected(const struct pci_host *host, uint32_t address)
{
    unsigned bus = address >> 16 & 0xff;
    unsigned function = address >> 8 & 7;

    if (!(address & ADDRESS_ENABLE) || bus != 0 || function != 0) {
        return NULL;
    }
    return host->slot[address >> 11 & 31];
}

static uint32_t all_ones(unsigned len)
{
    assert(pci_is_len(len));
    return len == 4 ? UINT32_MAX : (1u << (8 * len)) - 1;
}

static bool is_data_access(uint16_t port, unsigned len)
{
    return port >= DATA_PORT && port + len <= DATA_PORT + 4;
}

static uint32_t read_function(struct pci_function *fn, unsigned offset, unsigned len)
{
    uint32_t value;

    lock(fn);
    if (fn->ops->config_read) {
        fn->ops->config_read(fn, offset, len);
    }
    value = pci_config_get(fn, offset, len);
    unlock(fn);
    return value;
}

uint32_t pci_host_config_read(struct pci_host *host, uint16_t port, unsigned len)
{
    uint32_t address = host->address;
    struct pci_function *fn = selected(host, address);

    if (port == PCI_HOST_PORT && len == 4) {
        return address;
    }
    return is_data_access(port, len) && fn ? read_function(fn, (address & 0xfc) + (port & 3), len)
                                           : all_ones(len);
}

static void write_function(struct pci_function *fn, unsigned offset, uint32_t value, unsigned len)
{
    assert(pci_is_len(len) && range_ok(offset, len, PCI_CONFIG_BYTES));
    lock(fn);
    for (unsigned i = 0; i < len; i++) {
        uint8_t bits = fn->writable[offset + i];
        uint8_t byte = (uint8_t)(value >> (8 * i));

        fn->config[offset + i] = (uint8_t)((fn->config[offset + i] & ~bits) | (byte & bits));
    }
    follow_bars(fn);
    if (fn->ops->config_written) {
        fn->ops->config_written(fn, offset, len);
    }
    unlock(fn);
}

void pci_host_config_write(struct pci_host *host, uint16_t port, uint32_t value, unsigned len)
{
    uint32_t address = host->address;
    struct pci_function *fn = selected(host, address);

    if (port == PCI_HOST_PORT && len == 4) {
        host->address = value & ADDRESS_BITS;
    } else if (is_data_access(port, len) && fn) {
        write_function(fn, (address & 0xfc) + (port & 3), value, len);
    }
}

/* ---- ECAM ---- */

/* Function 0 alone, and nothing behind the first 256 bytes. */
static struct pci_function *function_at(const struct pci_host *host, uint32_t offset, unsigned len)
{
    unsigned number = offset / PCI_ECAM_FUNCTION_BYTES;
    bool is_there = number < 8 * PCI_SLOTS && number % 8 == 0 &&
                    range_ok(offset % PCI_ECAM_FUNCTION_BYTES, len, PCI_CONFIG_BYTES);

    return is_there ? host->slot[number / 8] : NULL;
}

uint32_t pci_host_ecam_read(struct pci_host *host, uint32_t offset, unsigned len)
{
    struct pci_function *fn = function_at(host, offset, len);

    return fn ? read_function(fn, offset % PCI_ECAM_FUNCTION_BYTES, len) : all_ones(len);
}

void pci_host_ecam_write(struct pci_host *host, uint32_t offset, uint32_t value, unsigned len)
{
    struct pci_function *fn = function_at(host, offset, len);

    if (fn) {
        write_function(fn, offset % PCI_ECAM_FUNCTION_BYTES, value, len);
    }
}

/* ---- BARs ---- */

/* A BAR that moves meanwhile answers at either place, as on a bus. */
static struct pci_function *find(struct pci_host *host, bool is_io, uint64_t addr, unsigned len,
                                 unsigned *bar, uint32_t *offset)
{
    assert(pci_is_len(len));
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        struct pci_function *fn = host->slot[slot];

        for (unsigned i = 0; fn && i < PCI_BARS; i++) {
            const struct pci_bar *at = &fn->bar[i];
            uint32_t base = at->addr;

            if (at->is_on && at->is_io == is_io && addr >= base &&
                range_ok(addr - base, len, at->size)) {
                *bar = i;
                *offset = (uint32_t)(addr - base);
                return fn;
            }
        }
    }
    return NULL;
}

bool pci_host_read(struct pci_host *host, bool is_io, uint64_t addr, unsigned len, uint32_t *value)
{
    unsigned bar;
    uint32_t offset;
    struct pci_function *fn = find(host, is_io, addr, len, &bar, &offset);

    if (fn) {
        lock(fn);
        *value = fn->ops->read(fn, bar, offset, len);
        unlock(fn);
    }
    return fn != NULL;
}

bool pci_host_write(struct pci_host *host, bool is_io, uint64_t addr, unsigned len, uint32_t value)
{
    unsigned bar;
    uint32_t offset;
    struct pci_function *fn = find(host, is_io, addr, len, &bar, &offset);

    if (fn) {
        lock(fn);
        fn->ops->write(fn, bar, offset, value, len);
        unlock(fn);
    }
    return fn != NULL;
}
