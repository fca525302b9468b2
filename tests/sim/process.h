/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The process that serves the disk, what control asks of it, and its front-end's messages. */

#include <stdbool.h>

#include "core/device/device.h"

/* Of the process that is there, NULL: none is. */
extern struct device *process_device;

void process_reset(void);

/* It is killed, and has been: there is none. */
void process_is_dying(void);
void process_died(void);

/* Things that could be asked of it, or come to it, next. */
unsigned process_ready(void);
void process_step(unsigned which);

/* It is as it should be in the end: all runs, nothing is asked. */
bool process_is_settled(void);

/* It is held for a person; and that one comes. */
bool process_waits_for_start(void);

/* All was answered: stop, close, look at what is left. */
void process_end(void);

/* ---- its front-end: frontend.c ---- */

void frontend_reset(void);
void frontend_died(void);
unsigned frontend_ready(void);
void frontend_step(void);
bool frontend_is_settled(void);
