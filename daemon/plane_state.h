/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The states in which a disk arrives (plane.h), with what is set, told and logged there.
 * Thread: the disk's.
 */

#include "daemon/plane.h"

void plane_state_running(struct plane *plane);
void plane_state_stopped(struct plane *plane);
void plane_state_failed(struct plane *plane, const struct err *err);

/*
 * Nothing is left but the thread; control hears of it.  Before those who wait for that are
 * answered: the name is free when they are told.
 */
void plane_state_gone(struct plane *plane);
