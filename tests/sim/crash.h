/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Where a process dies, between any two of its stores, and stores that change places. */

#include <setjmp.h>
#include <stdbool.h>

/* What a store is to. */
enum store_class {
    CLASS_NONE,
    USED_ELEM,
    USED_IDX,
    WISH,
    PACKED_ID,
    PACKED_FLAGS,
    LOG_MARK,
    LOG_CLEAR,
    LOG_COUNTER,
    LOG_NEXT,
    LOG_HEAD,
    LOG_USED,
    LOG_FREE,
    LOG_OTHER,
    CLASSES,
};

extern jmp_buf crash_out;

void crash_reset(void);

/* It dies before its store with this number, from 1 on; or at the end of a callback. */
void crash_after(unsigned stores);
bool crash_is_due(void);

/* In the device, or not. */
void crash_watch(bool on);

/* Stores that were put off. */
void crash_settle(void);
