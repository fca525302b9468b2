/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * sim                     a short run, and what is spoiled on purpose must be found (TAP)
 * sim SEED [--trace]      one seed, with all that happens
 * sim --seconds N [SEED]  seeds one after the other, from SEED on
 *
 * SIM_SEEDS in the environment is how many a short run has.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/crash.h"
#include "tests/sim/sim.h"

#if defined(__SANITIZE_THREAD__)
#define SEEDS 60u /* slow there, and of threads it has one */
#else
#define SEEDS 1000u
#endif

/* So many are enough to find what is spoiled, several times over. */
#define SEEDS_TO_FIND 1000u

static const struct sim_spoil spoils[] = {
    {"a used element behind the index that covers it", .hold = USED_ELEM, .until = USED_IDX},
    {"the log cleared before the used index", .hold = USED_IDX, .until = LOG_CLEAR,
     .needs_log = true},
    {"the log's used index before it is cleared", .hold = LOG_CLEAR, .until = LOG_USED,
     .needs_log = true},
    {"the head of the last batch behind the used index", .hold = LOG_HEAD, .until = USED_IDX,
     .needs_log = true},
    {"the wish for kicks behind the last look", .hold = WISH, .until = CLASS_NONE},
    {"the counter behind the mark", .hold = LOG_COUNTER, .until = LOG_MARK, .needs_log = true},
    {"the mark at the end of the turn", .hold = LOG_MARK, .until = CLASS_NONE, .needs_log = true},
    {"a process that does not wait for the I/O of the one before", .has_no_fence = true,
     .needs_log = true},
    {"buffers that are the driver's again before that I/O has ended", .frees_early = true,
     .needs_log = true},
    {"a process that is not given the log", .has_no_recovery = true, .needs_log = true},
    {"packed: id and length behind the flags", .hold = PACKED_ID, .until = PACKED_FLAGS,
     .is_packed = true},
    {"packed: the log cleared before the flags", .hold = PACKED_FLAGS, .until = LOG_CLEAR,
     .is_packed = true, .needs_log = true},
    {"packed: the batch behind the flags", .hold = LOG_USED, .until = PACKED_FLAGS,
     .is_packed = true, .needs_log = true},
    {"packed: the mark behind the list of free entries", .hold = LOG_MARK, .until = LOG_FREE,
     .is_packed = true, .needs_log = true},
    {"packed: the wish for kicks behind the last look", .hold = WISH, .until = CLASS_NONE,
     .is_packed = true},
};

static bool run_seeds(uint64_t from, unsigned count)
{
    for (uint64_t seed = from; seed < from + count; seed++) {
        const char *fault = sim_run(seed, NULL, false);

        if (fault) {
            printf("# seed %llu: %s\n", (unsigned long long)seed, fault);
            return false;
        }
    }
    return true;
}

static bool is_found(const struct sim_spoil *spoil)
{
    for (uint64_t seed = 1; seed <= SEEDS_TO_FIND; seed++) {
        const char *fault = sim_run(seed, spoil, false);

        if (fault) {
            printf("# seed %llu: %s\n", (unsigned long long)seed, fault);
            return true;
        }
    }
    return false;
}

/* Whatever ran before: the chance that is left in the end is that of each step. */
static bool is_same_again(unsigned count)
{
    for (uint64_t seed = count; seed > 0; seed--) {
        uint64_t first;

        (void)sim_run(seed, NULL, false);
        first = sim.random;
        (void)sim_run(seed + 1, NULL, false);
        (void)sim_run(seed, NULL, false);
        if (sim.random != first) {
            printf("# seed %llu is another run the second time\n", (unsigned long long)seed);
            return false;
        }
    }
    return true;
}

/* A run of nothing finds nothing. */
static bool has_seen_all(unsigned count)
{
    const struct stats *stats = &sim.stats;
    const uint64_t seen[] = {sim.requests,
                             sim.crashes,
                             sim.retried,
                             sim.held,
                             stats->merged,
                             stats->throttled_requests,
                             stats->interrupts_suppressed,
                             stats->poll_hits,
                             stats->poll_misses,
                             stats->type[STATS_READ].errors,
                             stats->type[STATS_WRITE].errors,
                             stats->type[STATS_DISCARD].requests,
                             stats->type[STATS_ZEROES].requests};
    bool has_all = true;

    printf("# of %u seeds:", count);
    for (unsigned i = 0; i < ARRAY_SIZE(seen); i++) {
        printf(" %llu", (unsigned long long)seen[i]);
        has_all &= seen[i] > 0;
    }
    printf("\n");
    return has_all;
}

static unsigned tests, failures;

static void tell(bool is_good, const char *what, const char *name)
{
    failures += !is_good;
    printf("%s %u - %s%s\n", is_good ? "ok" : "not ok", ++tests, what, name);
}

static void look_for_spoiled(unsigned count)
{
    for (unsigned i = 0; i < ARRAY_SIZE(spoils); i++) {
        if (count < SEEDS_TO_FIND) {
            printf("ok %u - it is found: %s # SKIP few seeds\n", ++tests, spoils[i].name);
        } else {
            tell(is_found(&spoils[i]), "it is found: ", spoils[i].name);
        }
    }
}

static int run_tap(void)
{
    const char *asked = getenv("SIM_SEEDS");
    unsigned count = asked ? (unsigned)strtoul(asked, NULL, 0) : SEEDS;

    printf("1..%zu\n", 3 + ARRAY_SIZE(spoils));
    tell(run_seeds(1, count), "each request is answered once, and blocks are as acknowledged", "");
    tell(has_seen_all(count), "what is to be tried is tried", "");
    tell(is_same_again(count / 50), "a seed is the same run again", "");
    look_for_spoiled(count);
    return failures > 0;
}

static int run_for(unsigned seconds, uint64_t from)
{
    time_t begin = time(NULL);
    uint64_t seed = from;
    double minutes;

    while (time(NULL) - begin < (time_t)seconds) {
        if (!run_seeds(seed, 100)) {
            return 1;
        }
        seed += 100;
    }
    minutes = (double)(time(NULL) - begin) / 60;
    printf("%llu seeds from %llu on, %.0f a minute; %llu requests answered, %llu processes "
           "killed\n",
           (unsigned long long)(seed - from), (unsigned long long)from,
           (double)(seed - from) / minutes, (unsigned long long)sim.requests,
           (unsigned long long)sim.crashes);
    return 0;
}

static int run_one(uint64_t seed, bool is_traced)
{
    const char *fault = sim_run(seed, NULL, is_traced);

    printf("seed %llu: %s\n", (unsigned long long)seed, fault ? fault : "nothing is wrong");
    return fault ? 1 : 0;
}

int main(int argc, char **argv)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 2 && strcmp(argv[1], "--seconds") == 0) {
        return run_for((unsigned)atoi(argv[2]), argc > 3 ? strtoull(argv[3], NULL, 0) : 1);
    }
    if (argc > 1) {
        return run_one(strtoull(argv[1], NULL, 0), argc > 2);
    }
    return run_tap();
}
