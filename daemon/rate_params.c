/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rate_params.h"

#include "core/device/rates.h"

#define RATE_MEMBER(kind, member) .offset = offsetof(struct rates, of[kind].member)

#define RATE_ROW(name, row_type, kind, member, text)                                  \
    {                                                                                 \
        name, row_type, RATE_MEMBER(kind, member),                                    \
            .max = RATE_MAX, .is_quiet = true, .is_place = (row_type) == PARAM_BYTES, \
            .otherwise = (row_type) == PARAM_BYTES ? "0" : NULL, .help = text         \
    }

#define LENGTH_ROW(name, kind)                                                                    \
    {                                                                                             \
        name, PARAM_INTEGER, RATE_MEMBER(kind, seconds), .value = 1, .min = 1, .max = UINT32_MAX, \
                                                         .is_quiet = true,                        \
                                                         .help = "seconds of such a burst"        \
    }

/* A limit, its burst, and how long that lasts. */
#define RATE_ROWS(name, name_max, name_length, kind, row_type, what)                           \
    RATE_ROW(name, row_type, kind, average, "at most so many " what " a second, 0: no limit"), \
        RATE_ROW(name_max, row_type, kind, burst,                                              \
                 "so many " what " a second in a burst, 0: there is none"),                    \
        LENGTH_ROW(name_length, kind)

/* Source: QEMU, docs/throttle.txt. */
const struct param rate_params[] = {
    RATE_ROWS("iops", "iops_max", "iops_max_length", RATE_IOPS, PARAM_INTEGER, "requests"),
    RATE_ROWS("iops_read", "iops_read_max", "iops_read_max_length", RATE_IOPS_READ, PARAM_INTEGER,
              "reads"),
    RATE_ROWS("iops_write", "iops_write_max", "iops_write_max_length", RATE_IOPS_WRITE,
              PARAM_INTEGER, "writes"),
    RATE_ROWS("bps", "bps_max", "bps_max_length", RATE_BPS, PARAM_BYTES, "bytes"),
    RATE_ROWS("bps_read", "bps_read_max", "bps_read_max_length", RATE_BPS_READ, PARAM_BYTES,
              "bytes of reads"),
    RATE_ROWS("bps_write", "bps_write_max", "bps_write_max_length", RATE_BPS_WRITE, PARAM_BYTES,
              "bytes of writes"),
    {"iops_size", PARAM_BYTES, .offset = offsetof(struct rates, iops_size), .max = RATE_SIZE_MAX,
     .is_quiet = true, .is_place = true, .otherwise = "0",
     .help = "a larger request counts as several of so much, 0: as one"},
    {.name = NULL},
};
