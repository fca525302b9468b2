/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A set of the host's CPUs, and the threads that run on them.  Plain values.
 * Thread: any.
 */

#include <pthread.h>
#include <stdint.h>

#include "core/base/base.h"
#include "core/base/err.h"

/* As many as Linux can be built for. */
#define CPUS_MAX 8192u

struct cpus {
    uint64_t word[CPUS_MAX / 64];
};

/* Room for a list, as people write it. */
#define CPUS_TEXT_BYTES 256

/* Of a list: all that the process may have. */
#define CPUS_ALL "all"

/*
 * "0-3,8" or "0-10:2", as taskset(1) has it.  Returns 0 or -EINVAL with a sentence; CPUS_ALL is no
 * such list.
 */
int cpus_parse(struct cpus *cpus, const char *text, struct err *err);

/* The other way round; what does not fit is cut off behind a comma. */
void cpus_say(const struct cpus *cpus, char text[CPUS_TEXT_BYTES]);

/* Leave in `a` what is in `b`, too.  Returns false when nothing is left. */
bool cpus_limit(struct cpus *a, const struct cpus *b);

/* The lowest of `a` that is not in `b`, -1: there is none. */
int cpus_beyond(const struct cpus *a, const struct cpus *b);

/* On which the thread of that number runs, 0: this one; empty when that cannot be told. */
void cpus_of(struct cpus *cpus, pid_t tid);

/*
 * Those of the process: its first thread's, which nobody here changes.  So they are what its cgroup
 * and whoever started it have left to it, without CPUs that are not there.
 */
void cpus_of_process(struct cpus *cpus);

/* Let a thread run on these, as far as they are there.  -EINVAL: none is. */
int cpus_use(const struct cpus *cpus, pid_t tid);
int cpus_use_for(const struct cpus *cpus, pthread_t thread);

/* Let this thread run where the process may, whoever has started it. */
void cpus_use_all(void);
