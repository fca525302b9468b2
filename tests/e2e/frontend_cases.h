/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The cases of frontend-tests: front-ends, well-behaved and not, against a back-end that
 * runs.  A case leaves its front-ends in a list of the program, which ends them; a
 * requirement that does not hold ends the case.  After each case a good client is served.
 */

#include "tests/lib/frontend.h"

struct frontend_case {
    const char *name; /* what it claims */
    void (*run)(void);
};

extern const struct frontend_case good_cases[];  /* memory, features, requests */
extern const struct frontend_case life_cases[];  /* stop, reconnect, messages as they come */
extern const struct frontend_case large_cases[]; /* rings and requests */
extern const struct frontend_case range_cases[]; /* discards and zeroes */
extern const struct frontend_case cache_cases[]; /* writeback and writethrough */
extern const struct frontend_case bad_message_cases[];
extern const struct frontend_case bad_ring_cases[];

/* End the case with "file:line: text". */
void case_fail(const char *file, int line, const char *text) __attribute__((noreturn));

#define require(condition)                             \
    do {                                               \
        if (!(condition)) {                            \
            case_fail(__FILE__, __LINE__, #condition); \
        }                                              \
    } while (0)

/* Options for a front-end with two rings of 64 and 16 requests each. */
struct frontend_opts case_opts(void);

/*
 * A front-end that ends with the case: not connected; connected, with all features set but
 * without memory and rings; with its rings running.
 * The latter two end all earlier ones, as there is one client at a time.
 */
struct frontend *case_frontend(const struct frontend_opts *opts);
struct frontend *case_connect(void);
struct frontend *case_connect_with(const struct frontend_opts *opts);
struct frontend *case_start(const struct frontend_opts *opts);

/* Write, flush, read back and compare through one ring. */
void case_round_trip(struct frontend_ring *ring, uint64_t sector);

/* The back-end has closed the connection, or answered with an error, within five seconds. */
bool case_was_refused(struct frontend *fe);
