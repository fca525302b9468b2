/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rate_params.h"

#include "core/device/rates.h"

#define RATE_MEMBER(kind, member) .offset = offsetof(struct rates, of[kind].member)

#define RATE_ROW(name, row_type, kind, member, none, text)                                \
    {                                                                                     \
        name, row_type, RATE_MEMBER(kind, member), .max = RATE_MAX, .is_quiet = true,     \
                                                   .is_place = (row_type) == PARAM_BYTES, \
                                                   .otherwise = none, .help = text        \
    }

#define LENGTH_ROW(name, kind)                                                                    \
    {                                                                                             \
        name, PARAM_INTEGER, RATE_MEMBER(kind, seconds), .value = 1, .min = 1, .max = UINT32_MAX, \
                                                         .is_quiet = true,                        \
                                                         .help = "seconds of such a burst"        \
    }

/* A limit, its burst, and how long that lasts. */
#define RATE_ROWS(name, name_max, name_length, kind, row_type, none, what)                       \
    RATE_ROW(name, row_type, kind, average, none, "at most so many " what " a second"),          \
        RATE_ROW(name_max, row_type, kind, burst, none, "so many " what " a second in a burst"), \
        LENGTH_ROW(name_length, kind)

#define NO_LIMIT "no limit"

/* Source: QEMU, docs/throttle.txt. */
const struct param rate_params[] = {
    RATE_ROWS("iops", "iops_max", "iops_max_length", RATE_IOPS, PARAM_INTEGER, NULL, "requests"),
    RATE_ROWS("iops_read", "iops_read_max", "iops_read_max_length", RATE_IOPS_READ, PARAM_INTEGER,
              NULL, "reads"),
    RATE_ROWS("iops_write", "iops_write_max", "iops_write_max_length", RATE_IOPS_WRITE,
              PARAM_INTEGER, NULL, "writes"),
    RATE_ROWS("bps", "bps_max", "bps_max_length", RATE_BPS, PARAM_BYTES, NO_LIMIT, "bytes"),
    RATE_ROWS("bps_read", "bps_read_max", "bps_read_max_length", RATE_BPS_READ, PARAM_BYTES,
              NO_LIMIT, "bytes of reads"),
    RATE_ROWS("bps_write", "bps_write_max", "bps_write_max_length", RATE_BPS_WRITE, PARAM_BYTES,
              NO_LIMIT, "bytes of writes"),
    {"iops_size", PARAM_BYTES, .offset = offsetof(struct rates, iops_size), .max = RATE_SIZE_MAX,
     .is_quiet = true, .is_place = true, .help = "a larger request counts as several of so much",
     .otherwise = "each counts as one"},
    {.name = NULL},
};
