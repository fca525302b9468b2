/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/device/device_sync.h"

#include <assert.h>

#include "core/device/device_state.h"
#include "core/device/lane_mark.h"

static void on_io_done(struct io *io)
{
    struct device_sync *sync = containerof(io, struct device_sync, io);

    sync->dev->lanes.first.flight.own--;
    sync->begun_ns = 0;
    sync->done(sync);
}

/*
 * By the first lane's way, which is this thread's; it covers what was written by all.  What has
 * ended by the time that submit comes back need not be signalled, so it is looked for at once.
 */
void device_sync(struct device *dev, struct device_sync *sync,
                 void (*done)(struct device_sync *sync))
{
    struct lane *lane = &dev->lanes.first;

    assert(lane->path && sync->begun_ns == 0);
    sync->io = (struct io){.op = IO_FLUSH, .done = on_io_done, .frame = sync->frame};
    sync->dev = dev;
    sync->done = done;
    sync->begun_ns = now_ns();
    lane->flight.own++;
    path_start(lane->path, &sync->io);
    (void)context_submit(&lane->context);
    (void)context_reap(&lane->context);
    lane_wake(lane); /* the reap may have found what is the guests', too */
}
