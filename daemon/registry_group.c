/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/registry_group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/device/limiter.h"
#include "daemon/params.h"
#include "daemon/protocol.h"
#include "daemon/rate_params.h"

static const struct settings *settings_of(const struct disk *disk)
{
    return &disk->record.config.settings;
}

static bool is_group(const char *name)
{
    return name[0] && strcmp(name, GROUP_NONE) != 0;
}

/* Somebody of the group, but for `other`; NULL: nobody, or it is none. */
static const struct disk *find_member(const struct registry *registry, const char *group,
                                      const struct disk *other)
{
    const struct disk *disk = is_group(group) ? registry->disks : NULL;

    while (disk && (disk == other || strcmp(settings_of(disk)->group, group) != 0)) {
        disk = disk->next;
    }
    return disk;
}

static int refuse_rates(const char *name, const char *group, const struct disk *member,
                        struct err *err)
{
    (void)err_say(err, -EEXIST, "%s: group: %s has limits already, which are also those of %s",
                  name, group, member->record.config.name);
    err_hint(err, "leave out all limits, and change those of the group afterwards");
    return -EEXIST;
}

/* Does it say nothing of limits? */
static bool has_no_rates(const struct rates *rates)
{
    struct param_walk at = param_walk(rate_params);

    while (param_walk_next(&at)) {
        if (!param_has_default(at.param, (const char *)rates + at.offset)) {
            return false;
        }
    }
    return true;
}

int registry_group_enter(const struct registry *registry, struct disk_config *config,
                         struct err *err)
{
    struct settings *settings = &config->settings;
    const struct disk *member = find_member(registry, settings->group, NULL);

    if (!member) {
        return 0;
    }
    if (!has_no_rates(&settings->rates) &&
        !rates_same(&settings->rates, &settings_of(member)->rates)) {
        return refuse_rates(config->name, settings->group, member, err);
    }
    settings->rates = settings_of(member)->rates;
    return 0;
}

void registry_group_restore(const struct registry *registry, struct disk_config *config)
{
    struct settings *settings = &config->settings;
    const struct disk *member = find_member(registry, settings->group, NULL);

    if (member && !rates_same(&settings->rates, &settings_of(member)->rates)) {
        log_warn("%s: group %s has the limits of %s, and not those of its own", config->name,
                 settings->group, member->record.config.name);
        settings->rates = settings_of(member)->rates;
    }
}

int registry_group_change(const struct disk *disk, struct settings *change, struct err *err)
{
    const struct settings *before = settings_of(disk);
    const struct disk *member = find_member(disk->registry, change->group, disk);
    struct rates merged;

    if (!member || strcmp(change->group, before->group) == 0) {
        return 0;
    }
    merged = settings_of(member)->rates;
    if (params_merge(rate_params, &merged, &change->rates)) {
        return refuse_rates(disk->record.config.name, change->group, member, err);
    }
    change->rates = merged;
    return 0;
}

void registry_group_learn(struct disk *disk)
{
    struct settings *settings = &disk->record.config.settings;
    struct rates rates;

    if (is_group(settings->group) && limit_group_rates(settings->group, &rates)) {
        settings->rates = rates;
    }
}

void registry_group_spread(const struct disk *disk)
{
    const struct settings *settings = settings_of(disk);

    for (struct disk *other = disk->registry->disks; other; other = other->next) {
        struct settings *theirs = &other->record.config.settings;

        if (other != disk && is_group(settings->group) &&
            strcmp(theirs->group, settings->group) == 0 &&
            !rates_same(&theirs->rates, &settings->rates)) {
            theirs->rates = settings->rates;
            free(other->row);
            other->row = NULL;
        }
    }
}
