/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What each unit test includes first: cmocka with the headers that it asks for. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/base.h"

/* For what valgrind cannot follow or takes for an error, as it is meant to be one. */
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

/*
 * Run a table of tests; the exit status of the program.  TAP, as the harness wants it.  The first
 * assertion that fails ends the program, with its line: the thread or image of a test that was left
 * half-way has pointers into a stack that is gone, and what comes of that would hide the line.
 * A wait that never ends fails its program and nothing else, after a multiple of what the longest
 * takes on a slow machine under valgrind.
 */
#define UNIT_TIMEOUT_S 900
#define unit_run(tests)                                          \
    (alarm(UNIT_TIMEOUT_S), setenv("CMOCKA_TEST_ABORT", "1", 0), \
     cmocka_set_message_output(CM_OUTPUT_TAP),                   \
     cmocka_run_group_tests_name(__FILE__, tests, NULL, NULL) == 0 ? EXIT_SUCCESS : EXIT_FAILURE)
