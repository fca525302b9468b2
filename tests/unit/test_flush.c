/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/flush_world.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/block/engine.h"

/*
 * Flush means flush: loads of flush_world.h, which flush_check.h judges.  VBLK_FLUSH_ROUNDS and
 * VBLK_FLUSH_SEED have it try more, and others.
 */

#define RINGS FLUSH_WORLD_RINGS

static unsigned rounds(void)
{
    const char *text = getenv("VBLK_FLUSH_ROUNDS");

    return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

static uint64_t first_seed(void)
{
    const char *text = getenv("VBLK_FLUSH_SEED");

    return text ? strtoull(text, NULL, 10) : 1;
}

static bool can_do(const struct image_world *files, const struct flush_variant *variant)
{
    return !cache_is_direct(variant->cache) || image_world_has_direct(files);
}

static void assert_holds(struct image_world *files, const struct flush_variant *variant,
                         bool with_changes, struct flush_check *sum)
{
    for (uint64_t seed = first_seed(); seed < first_seed() + rounds(); seed++) {
        if (!flush_world_try(files, variant, with_changes, seed, sum)) {
            fail_msg("seed %" PRIu64 ", engine %s, cache %s, %u threads%s: %s", seed,
                     variant->engine == ENGINE_THREADS ? "threads" : engine_names[variant->engine],
                     cache_mode_names[variant->cache], variant->lanes,
                     variant->emulates ? ", sectors" : "", sum->fault);
        }
    }
}

/* So that nobody believes in a test that tries nothing. */
static void tell(const struct flush_check *sum)
{
    print_message("# %u writes by %u of the image, %u of them merged; %u flushes by %u, %u of them "
                  "asked for while writes were under way\n",
                  sum->writes, sum->image_writes, sum->merged, sum->flushes, sum->image_flushes,
                  sum->overtook);
}

static void assert_tried(const struct flush_check *sum)
{
    tell(sum);
    assert_true(sum->writes > 0 && sum->flushes > 0 && sum->overtook > 0);
}

static void try_engine(struct image_world *files, enum io_engine engine, struct flush_check *sum)
{
    for (int cache = CACHE_NONE; cache < CACHE_UNSAFE; cache++) {
        struct flush_variant variant = {.engine = engine,
                                        .cache = (enum cache_mode)cache,
                                        .lanes = ((int)engine + cache) % 2 ? RINGS : 1};

        if (can_do(files, &variant)) {
            assert_holds(files, &variant, false, sum);
            variant.lanes = RINGS + 1 - variant.lanes;
            if (rounds() > 1) { /* syncs of a disk take their time */
                assert_holds(files, &variant, false, sum);
            }
        }
    }
}

static void flush_covers_all_that_was_answered_before_it(void **state)
{
    struct flush_check sum = {0};

    for (int engine = ENGINE_AIO; engine <= ENGINE_THREADS; engine++) {
        if (engine != ENGINE_IO_URING || engine_has_uring()) {
            try_engine(*state, (enum io_engine)engine, &sum);
        }
    }
    assert_tried(&sum);
    assert_true(sum.merged > 0);
}

static void it_does_so_for_sectors_of_larger_blocks(void **state)
{
    struct image_world *files = *state;
    struct flush_check sum = {0};

    for (int cache = CACHE_NONE; cache <= CACHE_DIRECTSYNC; cache++) {
        const struct flush_variant variant = {
            .cache = (enum cache_mode)cache, .lanes = RINGS, .emulates = true};

        if (!can_do(files, &variant)) {
            skip();
        }
        assert_holds(files, &variant, false, &sum);
    }
    assert_tried(&sum);
}

static void it_does_so_while_cache_threads_and_image_change(void **state)
{
    struct image_world *files = *state;
    struct flush_check sum = {0};

    for (int cache = CACHE_NONE; cache < CACHE_UNSAFE; cache++) {
        const struct flush_variant variant = {.cache = (enum cache_mode)cache, .lanes = RINGS};

        if (can_do(files, &variant)) {
            assert_holds(files, &variant, true, &sum);
        }
    }
    assert_tried(&sum);
}

static void it_does_so_among_errors(void **state)
{
    static const struct fault_rule rules[FLUSH_WORLD_FAULTS] = {
        {.ops = 1u << IO_FLUSH, .error = -EIO, .every = 3},
        {.ops = 1u << IO_WRITE | 1u << IO_ZERO, .error = -ENOSPC, .every = 7},
    };
    struct image_world *files = *state;
    struct flush_check sum = {0};

    for (int cache = CACHE_NONE; cache < CACHE_UNSAFE; cache++) {
        struct flush_variant variant = {.cache = (enum cache_mode)cache,
                                        .lanes = RINGS,
                                        .fault = rules,
                                        .on_write_error = cache % 2 ? ERROR_STOP : ERROR_REPORT};

        if (can_do(files, &variant)) {
            assert_holds(files, &variant, false, &sum);
            variant.on_write_error = ERROR_REPORT + ERROR_STOP - variant.on_write_error;
            if (rounds() > 1) {
                assert_holds(files, &variant, false, &sum);
            }
        }
    }
    assert_tried(&sum);
}

/* ---- the test's own test ---- */

/* One of a few loads is enough. */
static void assert_found(struct image_world *files, const char *spoil,
                         const struct flush_variant *variant)
{
    struct flush_check sum = {0};
    uint64_t seed = first_seed();

    assert_int_equal(setenv("VBLKD_IO_SPOIL", spoil, 1), 0);
    while (flush_world_try(files, variant, false, seed, &sum)) {
        assert_true(seed++ < first_seed() + 20);
    }
    assert_int_equal(unsetenv("VBLKD_IO_SPOIL"), 0);
    print_message("# %s: %s\n", spoil, sum.fault);
}

static void mistakes_are_found(void **state)
{
    static const enum io_engine engines[] = {ENGINE_AIO, ENGINE_IO_URING, ENGINE_THREADS};
    struct image_world *files = *state;

    for (unsigned i = 0; i < ARRAY_SIZE(engines); i++) {
        struct flush_variant variant = {
            .engine = engines[i], .cache = CACHE_WRITEBACK, .lanes = RINGS};

        if (engines[i] == ENGINE_IO_URING && !engine_has_uring()) {
            continue;
        }
        assert_found(files, "flushes", &variant);
        assert_found(files, "most", &variant);
        assert_found(files, "clean", &variant);
        variant.cache = CACHE_WRITETHROUGH;
        assert_found(files, "stable", &variant);
    }
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, image_world_start, image_world_stop)

static const struct CMUnitTest tests[] = {
    in_world(flush_covers_all_that_was_answered_before_it),
    in_world(it_does_so_for_sectors_of_larger_blocks),
    in_world(it_does_so_while_cache_threads_and_image_change),
    in_world(it_does_so_among_errors),
    in_world(mistakes_are_found),
};

int main(void)
{
    return unit_run(tests);
}
