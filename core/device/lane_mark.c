/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/lane_mark.h"

static void on_idle(uv_idle_t *idle)
{
    /* It is there to keep the loop from sleeping: the check phase does the work. */
}

void lane_wake(struct lane *lane)
{
    lane->has_turn_work = true;
    uv_idle_start(&lane->idle, on_idle);
}

void lane_kicked(struct lane *lane, unsigned index)
{
    lane->ready |= BIT(index);
    lane->has_turn_work = true;
}

void lane_look(struct lane *lane, unsigned index)
{
    lane->ready |= BIT(index);
    lane_wake(lane);
}

void lane_forget(struct lane *lane, unsigned index)
{
    lane->used &= ~BIT(index);
    lane->quiet &= ~BIT(index);
    lane->ready &= ~BIT(index);
    lane->unpublished &= ~BIT(index);
    lane->untold &= ~BIT(index);
    lane->aside &= ~BIT(index);
    lane->gated &= ~BIT(index);
}
