/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The small things of a PC which a kernel looks for at fixed ports: clock, power management,
 * the keyboard controller's reset line.
 * Owner: the machine.  Thread: any.
 */

#include <stdatomic.h>

#include "core/base/base.h"

struct ports {
    _Atomic uint8_t cmos_index;
    _Atomic uint16_t pm_status; /* nothing ever happens, but a driver clears and enables bits */
    _Atomic uint16_t pm_enable;
};

enum ports_action {
    PORTS_NONE, /* not ours */
    PORTS_DONE,
    PORTS_OFF,   /* the guest powers off */
    PORTS_RESET, /* the guest resets */
};

/* Returns false when nothing of ours is at this port. */
bool ports_read(struct ports *ports, uint16_t port, unsigned len, uint32_t *value);
enum ports_action ports_write(struct ports *ports, uint16_t port, unsigned len, uint32_t value);
