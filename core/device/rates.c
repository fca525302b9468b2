/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/rates.h"

#include <errno.h>
#include <inttypes.h>

static const char *const rate_names[RATE_KINDS] = {"iops", "iops_read", "iops_write",
                                                   "bps",  "bps_read",  "bps_write"};

static bool has_rate(const struct rates *rates, enum rate_kind kind)
{
    return rates->of[kind].average > 0;
}

static bool has_directed_rate(const struct rates *rates, enum rate_kind total)
{
    return has_rate(rates, total + 1) || has_rate(rates, total + 2);
}

bool rates_has_any(const struct rates *rates)
{
    return has_rate(rates, RATE_IOPS) || has_rate(rates, RATE_BPS) || rates_has_direction(rates);
}

bool rates_has_direction(const struct rates *rates)
{
    return has_directed_rate(rates, RATE_IOPS) || has_directed_rate(rates, RATE_BPS);
}

static bool is_same_rate(const struct rate *left, const struct rate *right)
{
    return left->average == right->average && left->burst == right->burst &&
           left->seconds == right->seconds;
}

bool rates_same(const struct rates *left, const struct rates *right)
{
    for (unsigned i = 0; i < RATE_KINDS; i++) {
        if (!is_same_rate(&left->of[i], &right->of[i])) {
            return false;
        }
    }
    return left->iops_size == right->iops_size;
}

/* Source: QEMU 8.2, util/throttle.c, throttle_is_valid. */
static int check_rate(const struct rate *rate, const char *name, struct err *err)
{
    if (rate->burst > 0 && rate->average == 0) {
        (void)err_say(err, -EINVAL, "%s_max: a burst goes with a limit only, and there is none",
                      name);
        err_hint(err, "give %s, too, or %s_max 0", name, name);
        return -EINVAL;
    }
    if (rate->burst > 0 && rate->burst < rate->average) {
        (void)err_say(err, -EINVAL,
                      "%s_max: %" PRId64 " is below the limit itself, %s, which is %" PRId64, name,
                      rate->burst, name, rate->average);
        err_hint(err, "a burst is faster than that, or there is none: 0");
        return -EINVAL;
    }
    if (rate->seconds > 1 && rate->burst == 0) {
        (void)err_say(err, -EINVAL,
                      "%s_max_length: is how long a burst lasts, and there is none (%s_max)", name,
                      name);
        err_hint(err, "give %s_max, too, or %s_max_length 1", name, name);
        return -EINVAL;
    }
    if (rate->burst > 0 && rate->seconds > RATE_MAX / rate->burst) {
        return err_say(err, -EINVAL,
                       "%s_max_length: %" PRId64 " seconds of %" PRId64
                       " are more than can be counted, %lld in all",
                       name, rate->seconds, rate->burst, RATE_MAX);
    }
    return 0;
}

/* A limit for all, and one by direction, of the same kind. */
static int check_total(const struct rates *rates, enum rate_kind total, struct err *err)
{
    enum rate_kind other = has_rate(rates, total + 1) ? total + 1 : total + 2;

    if (!has_rate(rates, total) || !has_rate(rates, other)) {
        return 0;
    }
    (void)err_say(err, -EINVAL, "%s: a limit for all does not go with one by direction, %s",
                  rate_names[total], rate_names[other]);
    err_hint(err, "set one of them to 0");
    return -EINVAL;
}

int rates_check(const struct rates *rates, struct err *err)
{
    int ret = check_total(rates, RATE_IOPS, err);

    if (ret == 0) {
        ret = check_total(rates, RATE_BPS, err);
    }
    for (unsigned i = 0; ret == 0 && i < RATE_KINDS; i++) {
        ret = check_rate(&rates->of[i], rate_names[i], err);
    }
    if (ret < 0) {
        return ret;
    }
    if (rates->iops_size > 0 && !has_rate(rates, RATE_IOPS) &&
        !has_directed_rate(rates, RATE_IOPS)) {
        (void)err_say(err, -EINVAL,
                      "iops_size: says how requests are counted, and they are not limited");
        err_hint(err, "give iops, iops_read or iops_write, too, or iops_size 0");
        return -EINVAL;
    }
    return 0;
}
