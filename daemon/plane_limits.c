/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_limits.h"

#include <errno.h>
#include <string.h>

#include "daemon/rate_params.h"

static struct limit_member *member_of(struct plane *plane)
{
    return &plane->limits.member[plane->limits.at];
}

static struct limit_member *other_of(struct plane *plane)
{
    return &plane->limits.member[!plane->limits.at];
}

void plane_limits_use(struct plane *plane)
{
    struct limit_member *member = member_of(plane);

    limit_rates(member, &plane->settings.rates);
    device_set_throttle(plane->dev,
                        rates_has_any(&plane->settings.rates) ? &member->throttle : NULL);
}

/* Requests that wait ask again, as what they were told is over. */
static void run_changed(struct message *message)
{
    struct plane *plane = containerof(message, struct plane, limits.message);

    atomic_store_explicit(&plane->limits.is_told, false, memory_order_release);
    if (plane->dev && member_of(plane)->limiter) {
        plane_limits_use(plane);
    }
}

/* Thread: any.  It is sent no more once the disk has left, and has run before its thread ends. */
static void on_changed(struct limit_member *member)
{
    struct plane *plane = member->arg;

    if (!atomic_exchange_explicit(&plane->limits.is_told, true, memory_order_acq_rel)) {
        mailbox_send(&plane->worker.mailbox, &plane->limits.message);
    }
}

static int join_group(struct plane *plane, struct limit_member *member,
                      const struct settings *settings, struct err *err)
{
    const char *group = strcmp(settings->group, GROUP_NONE) == 0 ? "" : settings->group;
    int ret = limit_join(member, group, &settings->rates, on_changed, plane);

    return ret < 0 ? err_set(err, ret, "%s: limits", plane->opts.name) : 0;
}

int plane_limits_begin(struct plane *plane, struct err *err)
{
    plane->limits.message.run = run_changed;
    return join_group(plane, member_of(plane), &plane->settings, err);
}

void plane_limits_end(struct plane *plane)
{
    if (member_of(plane)->limiter) {
        plane_limits_look(plane);
        if (plane->dev) {
            device_set_throttle(plane->dev, NULL);
        }
        limit_leave(member_of(plane));
    }
}

void plane_limits_look(struct plane *plane)
{
    if (member_of(plane)->limiter) {
        limit_rates(member_of(plane), &plane->settings.rates);
    }
}

int plane_limits_reserve(struct plane *plane, const struct settings *settings, struct err *err)
{
    if (strcmp(settings->group, plane->settings.group) == 0) {
        return 0;
    }
    return join_group(plane, other_of(plane), settings, err);
}

void plane_limits_unreserve(struct plane *plane)
{
    limit_leave(other_of(plane));
}

/* Returns true when something else holds than before. */
static bool set_rates(struct plane *plane, const struct settings *change)
{
    struct settings settings = plane->settings;
    struct rates from;

    do { /* until nobody else has set something in between */
        limit_rates(member_of(plane), &from);
        settings.rates = from;
        (void)settings_apply(&settings, change);
    } while (!limit_set(member_of(plane), &from, &settings.rates, now_ns()));
    return !rates_same(&from, &settings.rates);
}

void plane_limits_set(struct plane *plane, const struct settings *change)
{
    bool has_moved = other_of(plane)->limiter != NULL;

    if (has_moved) {
        plane->limits.at = !plane->limits.at;
    }
    if (set_rates(plane, change) || has_moved) {
        plane_limits_use(plane); /* nobody has the other throttle any more */
    }
    if (has_moved) {
        limit_leave(other_of(plane));
    }
}
