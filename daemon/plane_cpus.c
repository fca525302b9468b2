/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/plane_cpus.h"

#include <errno.h>
#include <string.h>

#include "core/base/cpus.h"
#include "core/base/log.h"

static bool is_all(const char *list)
{
    return list[0] == '\0' || strcmp(list, CPUS_ALL) == 0;
}

/* The list was checked when it was set. */
static void read_list(const char *list, struct cpus *cpus)
{
    if (is_all(list)) {
        cpus_of_process(cpus);
    } else {
        (void)cpus_parse(cpus, list, NULL);
    }
}

void plane_cpus_begin(struct plane *plane)
{
    const char *list = plane->settings.cpus;
    struct cpus cpus, there;

    if (is_all(list)) {
        return; /* as its starter */
    }
    read_list(list, &cpus);
    cpus_of_process(&there);
    if (!cpus_limit(&cpus, &there) || cpus_use(&cpus, 0) < 0) {
        log_warn("%s: none of its CPUs %s is there, or vblkd may use none: its threads run on all "
                 "that it may",
                 plane->opts.name, list);
    }
}

int plane_cpus_use(struct plane *plane, const char *list, struct err *err)
{
    struct cpus cpus;
    int ret;

    read_list(list, &cpus);
    ret = device_use_cpus(plane->dev, &cpus);
    return ret < 0
               ? err_set(err, ret, "%s: cpus: its threads cannot run on %s", plane->opts.name, list)
               : 0;
}

void plane_cpus_look(const struct plane *plane, char elsewhere[CPUS_TEXT_BYTES])
{
    struct cpus wanted, found;

    elsewhere[0] = '\0';
    if (is_all(plane->settings.cpus)) {
        return;
    }
    read_list(plane->settings.cpus, &wanted);
    for (unsigned i = 0; i < device_lane_count(plane->dev); i++) {
        cpus_of(&found, device_lane_tid(plane->dev, i));
        if (cpus_beyond(&found, &wanted) >= 0 || cpus_beyond(&wanted, &found) >= 0) {
            cpus_say(&found, elsewhere);
            return;
        }
    }
}
