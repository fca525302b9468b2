/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE 1 /* pthread_setaffinity_np */
#include "core/base/cpus.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_in_cpus(const struct cpus *cpus, unsigned cpu)
{
    return cpus->word[cpu / 64] >> (cpu % 64) & 1;
}

/* A number of CPUs, below CPUS_MAX + 1.  Returns false when `*at` begins with none. */
static bool read_cpu_number(const char **at, unsigned *number)
{
    char *end;
    unsigned long value;

    if (**at < '0' || **at > '9') {
        return false;
    }
    value = strtoul(*at, &end, 10);
    *number = value > CPUS_MAX ? CPUS_MAX : (unsigned)value;
    *at = end;
    return true;
}

/* "8", "0-3" or "0-10:2", with the comma behind it. */
static bool read_cpu_range(struct cpus *cpus, const char **at)
{
    unsigned first, last;
    unsigned step = 1;

    if (!read_cpu_number(at, &first)) {
        return false;
    }
    last = first;
    if (**at == '-') {
        ++*at;
        if (!read_cpu_number(at, &last) || (**at == ':' && (++*at, !read_cpu_number(at, &step)))) {
            return false;
        }
    }
    if (last < first || last >= CPUS_MAX || step == 0) {
        return false;
    }
    for (unsigned cpu = first; cpu <= last; cpu += step) {
        cpus->word[cpu / 64] |= 1ull << (cpu % 64);
    }
    return **at == '\0' || (**at == ',' && *++*at != '\0');
}

int cpus_parse(struct cpus *cpus, const char *text, struct err *err)
{
    const char *at = text;

    memset(cpus, 0, sizeof(*cpus));
    do {
        if (!read_cpu_range(cpus, &at)) {
            (void)err_say(err, -EINVAL, "\"%s\" is no list of CPUs, as 0-3,8", text);
            err_hint(err, "\"" CPUS_ALL "\" stands for those that vblkd may have");
            return -EINVAL;
        }
    } while (*at);
    return 0;
}

void cpus_say(const struct cpus *cpus, char text[CPUS_TEXT_BYTES])
{
    size_t used = 0;
    unsigned last;

    text[0] = '\0';
    for (unsigned cpu = 0; cpu < CPUS_MAX && used < CPUS_TEXT_BYTES; cpu = last + 1) {
        last = cpu;
        if (!is_in_cpus(cpus, cpu)) {
            continue;
        }
        while (last + 1 < CPUS_MAX && is_in_cpus(cpus, last + 1)) {
            last++;
        }
        used += (size_t)(last > cpu ? snprintf(text + used, CPUS_TEXT_BYTES - used, "%s%u-%u",
                                               used ? "," : "", cpu, last)
                                    : snprintf(text + used, CPUS_TEXT_BYTES - used, "%s%u",
                                               used ? "," : "", cpu));
    }
}

bool cpus_limit(struct cpus *a, const struct cpus *b)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(a->word); i++) {
        a->word[i] &= b->word[i];
        any |= a->word[i];
    }
    return any != 0;
}

int cpus_beyond(const struct cpus *a, const struct cpus *b)
{
    for (unsigned i = 0; i < ARRAY_SIZE(a->word); i++) {
        uint64_t more = a->word[i] & ~b->word[i];

        if (more) {
            return (int)(i * 64) + __builtin_ctzll(more);
        }
    }
    return -1;
}

/* The C library's own takes no more than 1024 without an allocation. */
void cpus_of(struct cpus *cpus, pid_t tid)
{
    memset(cpus, 0, sizeof(*cpus));
    (void)syscall(SYS_sched_getaffinity, tid, sizeof(cpus->word), cpus->word);
}

void cpus_of_process(struct cpus *cpus)
{
    cpus_of(cpus, getpid());
}

int cpus_use(const struct cpus *cpus, pid_t tid)
{
    return syscall(SYS_sched_setaffinity, tid, sizeof(cpus->word), cpus->word) < 0 ? -errno : 0;
}

int cpus_use_for(const struct cpus *cpus, pthread_t thread)
{
    return -pthread_setaffinity_np(thread, sizeof(cpus->word), (const cpu_set_t *)cpus->word);
}

void cpus_use_all(void)
{
    struct cpus all, own;

    cpus_of_process(&all);
    cpus_of(&own, 0);
    if (cpus_beyond(&all, &own) >= 0) {
        (void)cpus_use(&all, 0); /* else it stays with those that its starter has */
    }
}
