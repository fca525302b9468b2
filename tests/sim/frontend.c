/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * A front-end as QEMU is one: each message is answered before the next is sent, those that drain
 * first wait for it.
 */

#include <assert.h>

#include "core/device/device_state.h"
#include "tests/sim/guest.h"
#include "tests/sim/image.h"
#include "tests/sim/process.h"

#define MESSAGES 64u

enum message_kind {
    CONNECT,
    FEATURES,
    INFLIGHT,
    MEMORY_GOES,
    MEMORY_COMES,
    RING_SIZE,
    RING_BASE,
    RING_ADDR,
    RING_CALL,
    RING_KICK,
    RING_ENABLE,
    RING_DISABLE,
    RING_STOP,
    RING_SUSPEND,
    RESET,
    DISCONNECT,
};

static const char *const names[] = {"connects", "features", "in-flight log", "memory goes",
                                    "memory",   "size",     "base",          "addresses",
                                    "call",     "kick",     "enable",        "disable",
                                    "stop",     "suspend",  "reset",         "disconnects"};

struct frontend_message {
    enum message_kind kind;
    unsigned ring;
};

static struct {
    struct frontend_message todo[MESSAGES];
    unsigned count, at;
    bool is_connected;
    bool is_waiting; /* for a drain */
    bool is_in_reset;
    struct drain drain;
    struct {
        bool runs;
        bool is_enabled;
        bool is_base_old; /* whoever served it has not told where it ended */
        uint32_t base;
    } ring[SIM_QUEUES];
} own;

static uint32_t fresh_base(void)
{
    return sim.config.is_packed ? RING_PACKED_BASE : 0;
}

static void for_rings(void (*call)(unsigned index))
{
    for (unsigned i = 0; i < sim.config.queues; i++) {
        call(i);
    }
}

/* Its driver has reset the device. */
static void begin_ring_anew(unsigned index)
{
    own.ring[index].base = fresh_base();
    own.ring[index].is_base_old = false;
    own.ring[index].runs = false;
    guest_thaw(index);
    guest_begin_anew(index);
    guest_freeze(index);
}

/* In the middle of a reset, it is over for the driver, and nobody needs the log any more. */
void frontend_died(void)
{
    if (own.is_in_reset) {
        own.is_in_reset = false;
        for_rings(begin_ring_anew);
        memset(guest_log, 0, LOG_BYTES);
    }
    own.count = 0;
    own.at = 0;
    own.is_connected = false;
    own.is_waiting = false;
    for (unsigned i = 0; i < SIM_QUEUES; i++) {
        own.ring[i].is_base_old |= own.ring[i].runs;
        own.ring[i].runs = false;
    }
}

void frontend_reset(void)
{
    own.is_in_reset = false;
    frontend_died();
    for (unsigned i = 0; i < SIM_QUEUES; i++) {
        own.ring[i].base = fresh_base();
        own.ring[i].is_base_old = false;
        own.ring[i].is_enabled = false;
    }
}

/* ---- what it is about to say ---- */

static void say(enum message_kind kind, unsigned ring)
{
    assert(own.count < MESSAGES);
    own.todo[own.count++] = (struct frontend_message){.kind = kind, .ring = ring};
}

static void say_ring(unsigned ring)
{
    say(RING_SIZE, ring);
    say(RING_BASE, ring);
    say(RING_ADDR, ring);
    say(RING_CALL, ring);
    say(RING_KICK, ring);
    say(RING_ENABLE, ring);
}

static void say_rings(void)
{
    for (unsigned i = 0; i < sim.config.queues; i++) {
        say_ring(i);
    }
}

static void say_log(void)
{
    if (sim.config.has_log && !(sim.spoil && sim.spoil->has_no_recovery)) {
        say(INFLIGHT, 0);
    }
}

static void say_all(void)
{
    bool has_log_first = sim_once_in(2);

    say(CONNECT, 0);
    if (has_log_first) {
        say_log();
    }
    say(FEATURES, 0);
    if (!has_log_first) {
        say_log();
    }
    say(MEMORY_GOES, 0);
    say(MEMORY_COMES, 0);
    say_rings();
}

static void say_anything(void)
{
    unsigned ring = sim_draw(sim.config.queues);

    if (!own.ring[ring].runs) {
        say_ring(ring);
        return;
    }
    if (!own.ring[ring].is_enabled) {
        say(RING_ENABLE, ring);
        return;
    }
    switch (sim_draw(8)) {
    case 0:
    case 1:
        say(RING_STOP, ring);
        break;
    case 2:
        say(RING_SUSPEND, ring);
        break;
    case 3:
        say(RING_DISABLE, ring);
        break;
    case 4:
    case 5:
        say(MEMORY_GOES, 0);
        say(MEMORY_COMES, 0);
        break;
    case 6:
        say(DISCONNECT, 0);
        break;
    default:
        say(RESET, 0);
        say(FEATURES, 0);
        say_rings();
    }
}

/* In the end all runs. */
static void say_what_lacks(void)
{
    for (unsigned i = 0; i < sim.config.queues; i++) {
        if (!own.ring[i].runs) {
            say_ring(i);
        } else if (!own.ring[i].is_enabled) {
            say(RING_ENABLE, i);
        }
    }
}

bool frontend_is_settled(void)
{
    for (unsigned i = 0; i < sim.config.queues; i++) {
        if (!own.ring[i].runs || !own.ring[i].is_enabled) {
            return false;
        }
    }
    return own.is_connected && !own.is_waiting && own.at == own.count;
}

/* ---- messages ---- */

static void must(int ret, const struct err *err)
{
    if (ret < 0) {
        sim_fail("a message is refused: %s", err->text);
    }
}

static void add_region(uint64_t from, uint64_t bytes)
{
    const struct mem_layout layout = {.guest_addr = GUEST_ADDR + from,
                                      .size = bytes,
                                      .user_addr = GUEST_USER + from,
                                      .offset = from};
    struct err err;

    must(device_memory_add(process_device, &layout, guest_fd, &err), &err);
}

/* In one region or in two, of which the edge may go through a request's data. */
static void share_memory(void)
{
    uint64_t edge = 4096ull * (1 + sim_draw(GUEST_BYTES / 4096 - 1));

    if (sim_once_in(2)) {
        add_region(0, GUEST_BYTES);
    } else {
        add_region(0, edge);
        add_region(edge, GUEST_BYTES - edge);
    }
    device_memory_changed(process_device);
}

static void on_memory(struct drain *drain)
{
    own.is_waiting = false;
    for_rings(guest_freeze);
    device_memory_clear(process_device);
}

/* Who keeps no log has to ask where rings end, and errors end what is held. */
static void forgive_held(unsigned index)
{
    if (!sim.config.has_log && process_device->queue[index].ring.held_count > 0) {
        guest_forgive(index);
    }
}

static void on_gone(struct drain *drain)
{
    own.is_waiting = false;
    for_rings(forgive_held);
    for (unsigned i = 0; i < sim.config.queues; i++) {
        if (!sim.config.has_log && own.ring[i].runs) {
            own.ring[i].base = device_ring_stop(process_device, i);
        }
    }
    device_reset(process_device);
    for_rings(guest_freeze);
    frontend_died();
}

static void on_reset(struct drain *drain)
{
    own.is_waiting = false;
    own.is_in_reset = true;
    for_rings(forgive_held);
    device_reset_rings(process_device);
    for_rings(begin_ring_anew);
    own.is_in_reset = false;
    device_resume(process_device, PAUSE_MESSAGE);
}

static unsigned ring_drained; /* whose drain it is */

static void on_ring_stopped(struct drain *drain)
{
    unsigned index = ring_drained;

    own.is_waiting = false;
    forgive_held(index);
    own.ring[index].runs = false;
    own.ring[index].is_base_old = false;
    own.ring[index].base = device_ring_stop(process_device, index);
    guest_freeze(index);
}

static void on_ring_disabled(struct drain *drain)
{
    struct err err;

    own.is_waiting = false;
    own.ring[ring_drained].is_enabled = false;
    must(device_ring_enable(process_device, ring_drained, false, &err), &err);
    device_ring_resume(process_device, ring_drained);
}

static void wait_for(void (*done)(struct drain *drain), enum pause_reason reason)
{
    own.drain = (struct drain){.done = done, .frees_memory = done == on_reset};
    own.is_waiting = true;
    device_pause(process_device, reason, &own.drain);
}

static void wait_for_ring(void (*done)(struct drain *drain), unsigned index,
                          void (*pause)(struct device *dev, unsigned index, struct drain *drain))
{
    own.drain = (struct drain){.done = done, .frees_memory = true};
    own.is_waiting = true;
    ring_drained = index;
    pause(process_device, index, &own.drain);
}

static void hand_in_log(void)
{
    const struct device_inflight log = {.bytes = (uint64_t)sim.config.queues * LOG_QUEUE_BYTES,
                                        .queues = sim.config.queues};
    struct err err;

    must(device_inflight_open(process_device, &log, guest_log_fd, &err), &err);
}

/* After a crash it knows no better than the guest, or than it did before. */
static uint32_t base_to_tell(unsigned index)
{
    bool is_guess = own.ring[index].is_base_old && sim.config.has_log && !sim.config.is_packed;

    return is_guess && sim_once_in(2) ? guest_used_base(index) : own.ring[index].base;
}

/* The last part: the ring starts. */
static int kick_ring(unsigned index, struct err *err)
{
    int ret = device_ring_set_kick(process_device, index, guest_kick_fd(index), err);

    own.ring[index].runs = true;
    sim.retried += process_device->queue[index].ring.held_count;
    return ret;
}

static int tell_ring(enum message_kind kind, unsigned index, struct err *err)
{
    struct ring_addr addr = guest_addr(index);

    switch (kind) {
    case RING_SIZE:
        guest_thaw(index);
        return device_ring_set_size(process_device, index, sim.config.size, err);
    case RING_BASE:
        return device_ring_set_base(process_device, index, base_to_tell(index), err);
    case RING_ADDR:
        return device_ring_set_addr(process_device, index, &addr, err);
    case RING_CALL:
        return device_ring_set_call(process_device, index, guest_call_fd(index), err);
    case RING_KICK:
        return kick_ring(index, err);
    case RING_ENABLE:
    default:
        own.ring[index].is_enabled = true;
        return device_ring_enable(process_device, index, true, err);
    }
}

static void memory_comes(void)
{
    for_rings(guest_thaw);
    share_memory();
    for (unsigned i = 0; i < sim.config.queues; i++) {
        if (!own.ring[i].runs) {
            guest_freeze(i);
        }
    }
    device_resume(process_device, PAUSE_MESSAGE);
}

static void send_message(struct frontend_message message)
{
    struct err err;

    sim_trace("front-end: %s, ring %u", names[message.kind], message.ring);
    switch (message.kind) {
    case CONNECT:
        own.is_connected = true;
        device_resume(process_device, PAUSE_GONE);
        break;
    case FEATURES:
        err.text[0] = '\0';
        must(device_set_features(process_device, sim.config.features), &err);
        break;
    case INFLIGHT:
        hand_in_log();
        break;
    case MEMORY_GOES:
        wait_for(on_memory, PAUSE_MESSAGE);
        break;
    case MEMORY_COMES:
        memory_comes();
        break;
    case RING_DISABLE:
        wait_for_ring(on_ring_disabled, message.ring, device_ring_pause);
        break;
    case RING_STOP:
        wait_for_ring(on_ring_stopped, message.ring, device_ring_pause);
        break;
    case RING_SUSPEND:
        wait_for_ring(on_ring_stopped, message.ring, device_ring_suspend);
        break;
    case RESET:
        wait_for(on_reset, PAUSE_MESSAGE);
        break;
    case DISCONNECT:
        wait_for(on_gone, PAUSE_GONE);
        break;
    default:
        must(tell_ring(message.kind, message.ring, &err), &err);
    }
}

unsigned frontend_ready(void)
{
    if (!process_device || own.is_waiting) {
        return 0;
    }
    return own.at < own.count || !own.is_connected || !sim.is_ending || !frontend_is_settled();
}

void frontend_step(void)
{
    if (own.at < own.count) {
        send_message(own.todo[own.at++]);
        return;
    }
    own.count = 0;
    own.at = 0;
    if (!own.is_connected) {
        say_all();
    } else if (sim.is_ending) {
        say_what_lacks();
    } else {
        say_anything();
    }
}
