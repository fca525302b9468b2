/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/serial.h"

enum {
    DATA,
    INTERRUPT_ENABLE,
    IDENTIFY,
    LINE_CONTROL,
    MODEM_CONTROL,
    LINE_STATUS,
    MODEM_STATUS,
    SCRATCH
};

#define ENABLE_RECEIVE 1u
#define ENABLE_SEND 2u
#define ENABLE_BITS 0x0fu

#define IDENTIFY_NONE 1u
#define IDENTIFY_SEND 2u
#define IDENTIFY_RECEIVE 4u
#define IDENTIFY_FIFO 0xc0u

#define FIFO_ON 1u
#define FIFO_CLEAR_INPUT 2u

#define DIVISOR_SHOWN 0x80u
#define LOOP 0x10u

#define STATUS_INPUT 1u
#define STATUS_SEND_EMPTY 0x60u

#define MODEM_PRESENT 0xb0u /* carrier, data set ready, clear to send */

static void update(struct serial *serial)
{
    bool is_up = ((serial->interrupt_enable & ENABLE_RECEIVE) && serial->input_count > 0) ||
                 ((serial->interrupt_enable & ENABLE_SEND) && serial->is_send_due);

    if (is_up != serial->is_up) {
        serial->is_up = is_up;
        serial->interrupt(serial->arg, is_up);
    }
}

void serial_init(struct serial *serial, void (*send)(void *arg, uint8_t byte),
                 void (*interrupt)(void *arg, bool is_up), void *arg)
{
    memset(serial, 0, sizeof(*serial));
    serial->send = send;
    serial->interrupt = interrupt;
    serial->arg = arg;
    serial->divisor = 1;
}

unsigned serial_room(const struct serial *serial)
{
    return SERIAL_INPUT - serial->input_count;
}

void serial_receive(struct serial *serial, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count && serial_room(serial) > 0; i++) {
        serial->input[(serial->input_first + serial->input_count++) % SERIAL_INPUT] = bytes[i];
    }
    update(serial);
}

static uint8_t take_input(struct serial *serial)
{
    uint8_t byte = serial->input[serial->input_first];

    if (serial->input_count == 0) {
        return 0;
    }
    serial->input_first = (serial->input_first + 1) % SERIAL_INPUT;
    serial->input_count--;
    return byte;
}

/* Receiving comes first; telling that all is sent takes that reason away. */
static uint8_t identify(struct serial *serial)
{
    uint8_t fifo = serial->has_fifo ? IDENTIFY_FIFO : 0;

    if ((serial->interrupt_enable & ENABLE_RECEIVE) && serial->input_count > 0) {
        return fifo | IDENTIFY_RECEIVE;
    }
    if ((serial->interrupt_enable & ENABLE_SEND) && serial->is_send_due) {
        serial->is_send_due = false;
        return fifo | IDENTIFY_SEND;
    }
    return fifo | IDENTIFY_NONE;
}

/* In the loop the outputs are the inputs: a driver finds out by this that there is a port. */
static uint8_t modem_status(const struct serial *serial)
{
    uint8_t out = serial->modem_control;

    if (!(out & LOOP)) {
        return MODEM_PRESENT;
    }
    return (uint8_t)((out & 2) << 3 | (out & 1) << 5 | (out & 4) << 4 | (out & 8) << 4);
}

static uint8_t read_register(struct serial *serial, unsigned reg)
{
    bool is_divisor = (serial->line_control & DIVISOR_SHOWN) != 0;

    switch (reg) {
    case DATA:
        return is_divisor ? (uint8_t)serial->divisor : take_input(serial);
    case INTERRUPT_ENABLE:
        return is_divisor ? (uint8_t)(serial->divisor >> 8) : serial->interrupt_enable;
    case IDENTIFY:
        return identify(serial);
    case LINE_CONTROL:
        return serial->line_control;
    case MODEM_CONTROL:
        return serial->modem_control;
    case LINE_STATUS:
        return STATUS_SEND_EMPTY | (serial->input_count > 0 ? STATUS_INPUT : 0);
    case MODEM_STATUS:
        return modem_status(serial);
    default:
        return serial->scratch;
    }
}

uint8_t serial_read(struct serial *serial, unsigned reg)
{
    uint8_t value = read_register(serial, reg);

    update(serial);
    return value;
}

static void send(struct serial *serial, uint8_t byte)
{
    if (serial->modem_control & LOOP) {
        serial_receive(serial, &byte, 1);
    } else {
        serial->send(serial->arg, byte);
    }
    serial->is_send_due = true;
}

static void write_fifo(struct serial *serial, uint8_t value)
{
    serial->has_fifo = (value & FIFO_ON) != 0;
    if (value & FIFO_CLEAR_INPUT) {
        serial->input_count = 0;
    }
}

static void enable_interrupts(struct serial *serial, uint8_t value)
{
    if ((value & ~serial->interrupt_enable) & ENABLE_SEND) {
        serial->is_send_due = true; /* it is empty, and has not been told since */
    }
    serial->interrupt_enable = value & ENABLE_BITS;
}

static void write_divisor(struct serial *serial, unsigned reg, uint8_t value)
{
    serial->divisor = reg == DATA ? (uint16_t)((serial->divisor & 0xff00) | value)
                                  : (uint16_t)((serial->divisor & 0x00ff) | value << 8);
}

void serial_write(struct serial *serial, unsigned reg, uint8_t value)
{
    if ((serial->line_control & DIVISOR_SHOWN) && reg <= INTERRUPT_ENABLE) {
        write_divisor(serial, reg, value);
        return;
    }
    switch (reg) {
    case DATA:
        send(serial, value);
        break;
    case INTERRUPT_ENABLE:
        enable_interrupts(serial, value);
        break;
    case IDENTIFY:
        write_fifo(serial, value);
        break;
    case LINE_CONTROL:
        serial->line_control = value;
        break;
    case MODEM_CONTROL:
        serial->modem_control = value & 0x1f;
        break;
    case SCRATCH:
        serial->scratch = value;
        break;
    default:
        break;
    }
    update(serial);
}
