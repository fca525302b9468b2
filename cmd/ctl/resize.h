/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What `resize` asks and prints.
 */

#include "cmd/common/command.h"

/* A size, or --refresh, and not both. */
int resize_check(const struct args *args, struct err *err);

/* "the guest has been told", of an answer that has changed its size. */
const char *resize_guest_knows(const json_t *disk);

/* "vda: 2G, was 1G; the guest has been told" */
void resize_print(const json_t *disk, const struct args *args);
