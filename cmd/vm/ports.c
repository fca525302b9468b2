/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cmd/vm/ports.h"

#include "cmd/vm/layout.h"

/* Source: Motorola, "MC146818A": registers 0 to 9 are the time, A to D the state. */
#define CMOS_DATA (LAYOUT_PORT_CMOS + 1)
#define CMOS_STATE_A 0x26u /* 32768 Hz, no update under way */
#define CMOS_STATE_B 0x02u /* 24 hours, BCD */
#define CMOS_STATE_D 0x80u /* the battery is good */
#define CMOS_CENTURY 0x32u

#define KEYBOARD_COMMAND (LAYOUT_PORT_KEYBOARD + 4)
#define KEYBOARD_RESET 0xfeu

/* Intel 82371AB: the second bit resets, with the third also the processor. */
#define RESET_NOW 0x04u

/* Source: ACPI 6.5, 4.8.3 "Fixed Hardware Registers", PM1. */
#define PM_SLEEP_ENABLE 0x2000u
#define PM_IS_ACPI 1u

static uint8_t bcd(int value)
{
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static uint8_t clock_read(uint8_t index)
{
    time_t now = time(NULL);
    struct tm tm;

    (void)gmtime_r(&now, &tm);
    switch (index) {
    case 0x00:
        return bcd(tm.tm_sec);
    case 0x02:
        return bcd(tm.tm_min);
    case 0x04:
        return bcd(tm.tm_hour);
    case 0x06:
        return bcd(tm.tm_wday + 1);
    case 0x07:
        return bcd(tm.tm_mday);
    case 0x08:
        return bcd(tm.tm_mon + 1);
    case 0x09:
        return bcd(tm.tm_year % 100);
    case 0x0a:
        return CMOS_STATE_A;
    case 0x0b:
        return CMOS_STATE_B;
    case 0x0d:
        return CMOS_STATE_D;
    case CMOS_CENTURY:
        return bcd(tm.tm_year / 100 + 19);
    default:
        return 0;
    }
}

bool ports_read(struct ports *ports, uint16_t port, unsigned len, uint32_t *value)
{
    switch (port) {
    case CMOS_DATA:
        *value = clock_read(ports->cmos_index);
        return true;
    case LAYOUT_PORT_KEYBOARD:
    case KEYBOARD_COMMAND: /* nothing typed, and room for a command */
    case LAYOUT_PORT_RESET:
        *value = 0;
        return len == 1;
    case LAYOUT_PORT_PM_EVENT:
        *value = ports->pm_status;
        return true;
    case LAYOUT_PORT_PM_EVENT + 2:
        *value = ports->pm_enable;
        return true;
    case LAYOUT_PORT_PM_CONTROL:
        *value = PM_IS_ACPI;
        return true;
    default:
        return false;
    }
}

enum ports_action ports_write(struct ports *ports, uint16_t port, unsigned len, uint32_t value)
{
    switch (port) {
    case LAYOUT_PORT_CMOS:
        ports->cmos_index = value & 0x7f; /* the top bit switches NMIs */
        return PORTS_DONE;
    case KEYBOARD_COMMAND:
        return value == KEYBOARD_RESET ? PORTS_RESET : PORTS_DONE;
    case LAYOUT_PORT_RESET:
        if (len != 1) {
            return PORTS_NONE; /* a word of PCI's address port */
        }
        return value & RESET_NOW ? PORTS_RESET : PORTS_DONE;
    case LAYOUT_PORT_PM_EVENT:
        ports->pm_status &= (uint16_t)~value;
        return PORTS_DONE;
    case LAYOUT_PORT_PM_EVENT + 2:
        ports->pm_enable = (uint16_t)value;
        return PORTS_DONE;
    case LAYOUT_PORT_PM_CONTROL:
        return value & PM_SLEEP_ENABLE ? PORTS_OFF : PORTS_DONE;
    default:
        return PORTS_NONE;
    }
}
