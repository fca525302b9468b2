/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What the process has of its kernel: memory that is gone with it, mappings, eventfds, time.
 * The linker sends calls here (--wrap).
 */

#include "core/base/base.h"

/* ---- a process ---- */

/* What is allocated and mapped from now on is its own, or not. */
void kernel_enter(void);
void kernel_leave(void);

/* It is gone, with all that it had. */
void kernel_kill(void);

/* Allocations and mappings that it has. */
unsigned kernel_leaks(void);

/* The place in a file of an address that the process has mapped.  -1: it is of none. */
int kernel_file_of(const volatile void *at, uint64_t *offset);

/* ---- eventfds ---- */

#define KERNEL_FD 100000

void kernel_reset_fds(void);
int kernel_eventfd(bool is_pipe);
void kernel_signal(int fd);
uint64_t kernel_count(int fd);

/* Returns what it had counted. */
uint64_t kernel_take(int fd);
