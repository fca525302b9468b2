/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A PCI bus with its host bridge: configuration through ports CF8 and CFC or by memory (ECAM), and
 * who of the functions answers at an address.  One bus, function 0 of each device, 32-bit BARs.
 * Functions are lent until the bus goes.
 *
 * Thread: any, once all functions are added.  Each function has a lock, held for the time of an
 * access to it; who answers at an address is found without one.  So an access that takes long,
 * as a reset that waits for a back-end does, keeps no other function waiting.
 * Source: PCI Local Bus Specification 3.0, 3.2.2.3.2 "Software Generation of Configuration
 * Transactions", 6.2 "Configuration Space Functions".
 */

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/base.h"

#define PCI_SLOTS 32u
#define PCI_BARS 6u
#define PCI_CONFIG_BYTES 256u

#define PCI_HOST_PORT 0xcf8u
#define PCI_HOST_PORTS 8u

#define PCI_ECAM_FUNCTION_BYTES 4096u
#define PCI_ECAM_BYTES (PCI_SLOTS * 8 * PCI_ECAM_FUNCTION_BYTES) /* of one bus */

/* Offsets.  Source: PCI 3.0, figure 6-1 "Type 00h Configuration Space Header". */
enum {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x0a, /* sub-class and base class */
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_CAPABILITIES = 0x34,
    PCI_LINE = 0x3c,
    PCI_PIN = 0x3d,
};

#define PCI_COMMAND_IO 0x0001u
#define PCI_COMMAND_MEMORY 0x0002u
#define PCI_COMMAND_NO_INTX 0x0400u
#define PCI_STATUS_CAPABILITIES 0x0010u

struct pci_function;

/* An access of a bus has 1, 2 or 4 bytes: whoever lets a guest in cuts others to these. */
static inline bool pci_is_len(unsigned len)
{
    return len == 1 || len == 2 || len == 4;
}

/* What a function does.  Any may be NULL.  `len` is 1, 2 or 4. */
struct pci_function_ops {
    uint32_t (*read)(struct pci_function *fn, unsigned bar, uint32_t offset, unsigned len);
    void (*write)(struct pci_function *fn, unsigned bar, uint32_t offset, uint32_t value,
                  unsigned len);
    /* Before a read of, and after a write to, these bytes of its configuration. */
    void (*config_read)(struct pci_function *fn, unsigned offset, unsigned len);
    void (*config_written)(struct pci_function *fn, unsigned offset, unsigned len);
    void (*moved)(struct pci_function *fn); /* its BARs answer elsewhere, or no more */
};

struct pci_function {
    const struct pci_function_ops *ops;
    pthread_mutex_t *lock; /* lent; NULL: the VMM serializes */
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t writable[PCI_CONFIG_BYTES]; /* bits that the guest may change */
    unsigned last_capability;           /* offset, 0: none yet */
    unsigned capabilities_end;
    struct pci_bar {
        uint32_t size; /* power of two; 0: there is none */
        bool is_io;
        _Atomic bool is_on;    /* its space is switched on in the command register */
        _Atomic uint32_t addr; /* where it answers; both are set under the lock, and read by all */
    } bar[PCI_BARS];
};

struct pci_host {
    _Atomic uint32_t address; /* as written to port CF8 */
    pthread_mutex_t lock;     /* the bridge's */
    struct pci_function bridge;
    struct pci_function *slot[PCI_SLOTS];
};

/* Here and below `len` is 1, 2 or 4. */
uint32_t pci_config_get(const struct pci_function *fn, unsigned offset, unsigned len);
void pci_config_set(struct pci_function *fn, unsigned offset, uint32_t value, unsigned len);

/* Fill in a header.  Then add BARs and capabilities. */
void pci_function_init(struct pci_function *fn, const struct pci_function_ops *ops, uint16_t vendor,
                       uint16_t device, uint16_t class_code);
void pci_function_add_bar(struct pci_function *fn, unsigned bar, uint32_t size, bool is_io);

/* A capability of `len` bytes behind those before it.  Returns its offset. */
unsigned pci_function_add_capability(struct pci_function *fn, uint8_t id, unsigned len);

void pci_host_init(struct pci_host *host);
void pci_host_fini(struct pci_host *host);

/* Put a function into the next slot, its pin A at interrupt `line`.  Returns the slot, -ENOSPC. */
int pci_host_add(struct pci_host *host, struct pci_function *fn, uint8_t line);

/*
 * What firmware would do: an address for each BAR, from `ports` and `memory` up, and both
 * spaces on.
 */
void pci_host_assign(struct pci_host *host, uint32_t ports, uint32_t memory);

/* Ports CF8 to CFF. */
uint32_t pci_host_config_read(struct pci_host *host, uint16_t port, unsigned len);
void pci_host_config_write(struct pci_host *host, uint16_t port, uint32_t value, unsigned len);

/*
 * The same by memory, from where the VMM shows it.  Reads of what is not there give all ones.
 * Source: PCI Express Base Specification 3.0, 7.2.2 "Enhanced Configuration Access Mechanism".
 */
uint32_t pci_host_ecam_read(struct pci_host *host, uint32_t offset, unsigned len);
void pci_host_ecam_write(struct pci_host *host, uint32_t offset, uint32_t value, unsigned len);

/* An access to a BAR.  Returns false when no function answers there. */
bool pci_host_read(struct pci_host *host, bool is_io, uint64_t addr, unsigned len, uint32_t *value);
bool pci_host_write(struct pci_host *host, bool is_io, uint64_t addr, unsigned len, uint32_t value);
