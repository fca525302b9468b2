/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/settings.h"

static const struct param table[] = {SETTINGS_PARAMS(0, true), {NULL}};

bool settings_is_change(const struct settings *change)
{
    return params_has_any(table, change);
}

bool settings_apply(struct settings *settings, const struct settings *change)
{
    return params_merge(table, settings, change);
}
