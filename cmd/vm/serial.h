/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A serial port, as a 16550A shows it; bytes move at once, whatever the rate is set to.
 * Owner: the machine.  Thread: one at a time.
 * Source: National Semiconductor, "PC16550D", 8 "Registers".
 */

#include "core/base/base.h"

#define SERIAL_PORTS 8u
#define SERIAL_INPUT 4096u

struct serial {
    void (*send)(void *arg, uint8_t byte);
    void (*interrupt)(void *arg, bool is_up);
    void *arg;

    uint8_t interrupt_enable;
    uint8_t line_control;
    uint8_t modem_control;
    uint8_t scratch;
    uint16_t divisor;
    bool has_fifo;
    bool is_send_due; /* "transmitter empty" has not been told yet */
    bool is_up;       /* the interrupt, as last said */
    uint8_t input[SERIAL_INPUT];
    unsigned input_first;
    unsigned input_count;
};

void serial_init(struct serial *serial, void (*send)(void *arg, uint8_t byte),
                 void (*interrupt)(void *arg, bool is_up), void *arg);

uint8_t serial_read(struct serial *serial, unsigned reg);
void serial_write(struct serial *serial, unsigned reg, uint8_t value);

/* How many bytes serial_receive takes. */
unsigned serial_room(const struct serial *serial);
void serial_receive(struct serial *serial, const uint8_t *bytes, unsigned count);
