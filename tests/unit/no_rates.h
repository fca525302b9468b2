/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A disk's limits, members of a struct settings: when nobody says any, and in a change of others.
 */
#define RATES_OF(number, seconds)                \
    .rates = {.of = {{number, number, seconds},  \
                     {number, number, seconds},  \
                     {number, number, seconds},  \
                     {number, number, seconds},  \
                     {number, number, seconds},  \
                     {number, number, seconds}}, \
              .iops_size = number}

#define NO_RATES RATES_OF(0, 1), .group = "none"
#define SAME_RATES RATES_OF(PARAM_ABSENT, PARAM_ABSENT)
