/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/e2e/frontend_cases.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>

#define WRITEBACK_AT ((uint32_t)offsetof(struct virtio_blk_config, wce))

/* With what it may do about the cache.  NULL: the disk offers none of that. */
static struct frontend *start_with_switch(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe;

    opts.accept = BIT(VIRTIO_BLK_F_CONFIG_WCE);
    fe = case_start(&opts);
    return vhost_user_client_features(fe->bus.client) & opts.accept ? fe : NULL;
}

static uint8_t shown(struct frontend *fe)
{
    struct vhost_config_msg config = {.offset = WRITEBACK_AT, .size = 1};
    uint32_t bytes = (uint32_t)offsetof(struct vhost_config_msg, data) + 1;
    const struct vhost_out out = {.request = VHOST_GET_CONFIG,
                                  .flags = VHOST_FLAG_VERSION,
                                  .size = bytes,
                                  .len = bytes,
                                  .payload = &config};
    struct vhost_in in;

    require(vhost_send(frontend_sock(fe), &out) == 0);
    require(vhost_recv(frontend_sock(fe), &in, FRONTEND_TIMEOUT_MS) == 0);
    require(in.request == VHOST_GET_CONFIG && in.size == bytes);
    return in.payload[offsetof(struct vhost_config_msg, data)];
}

/* 0, or -EREMOTEIO when it is refused. */
static int set_config(struct frontend *fe, const struct vhost_config_msg *config)
{
    return frontend_set(fe, VHOST_SET_CONFIG, config,
                        (uint32_t)offsetof(struct vhost_config_msg, data) + config->size, -1);
}

static int switch_to(struct frontend *fe, uint8_t writeback)
{
    const struct vhost_config_msg config = {.offset = WRITEBACK_AT, .size = 1, .data = {writeback}};

    return set_config(fe, &config);
}

static void resume(struct frontend *fe)
{
    uint64_t deadline_ns = now_ns() + 5 * NS_PER_S;
    int ret;

    frontend_disconnect(fe);
    while ((ret = frontend_resume(fe)) < 0 && now_ns() < deadline_ns) {
        frontend_disconnect(fe);
        poll(NULL, 0, 10);
    }
    require(ret == 0);
}

static void switch_of_the_cache_outlasts_connections_and_resets(void)
{
    struct frontend *fe = start_with_switch();

    if (!fe) {
        return;
    }
    for (unsigned round = 0; round < 5; round++) {
        require(switch_to(fe, 0) == 0);
        require(shown(fe) == 0);
        case_round_trip(&fe->ring[0], 0);
        case_round_trip(&fe->ring[1], 8);
        resume(fe);
        require(shown(fe) == 0);
        case_round_trip(&fe->ring[0], 0);
        fe = start_with_switch(); /* of a driver that starts anew */
        require(fe && shown(fe) == 0);
        require(switch_to(fe, 1) == 0);
        require(shown(fe) == 1);
        resume(fe);
        require(shown(fe) == 1);
        case_round_trip(&fe->ring[1], 8);
    }
}

/* Requests of both rings are under way all the time; what is answered was written. */
static void switch_of_the_cache_loses_no_requests(void)
{
    struct frontend *fe = start_with_switch();
    struct frontend_request *request;

    for (unsigned round = 0; fe && round < 40; round++) {
        for (unsigned i = 0; i < 2; i++) {
            for (unsigned j = 0; j < 8; j++) {
                request = frontend_prepare(&fe->ring[i], VIRTIO_BLK_T_OUT, (i * 8 + j) * 8, 4096);
                require(request);
                frontend_put(request);
            }
            frontend_kick(&fe->ring[i]);
        }
        require(switch_to(fe, round % 2) == 0);
        while (fe->ring[0].inflight + fe->ring[1].inflight > 0) {
            require(frontend_wait(fe, FRONTEND_TIMEOUT_MS) == 0);
            for (unsigned i = 0; i < 2; i++) {
                while ((request = frontend_reap(&fe->ring[i]))) {
                    require(request->blk->status == VIRTIO_BLK_S_OK);
                    frontend_release(request);
                }
            }
        }
    }
}

static void switch_that_cannot_be_is_refused_and_nothing_else(void)
{
    static const struct vhost_config_msg wrong[] = {
        {.offset = WRITEBACK_AT, .size = 1, .data = {2}},
        {.offset = WRITEBACK_AT, .size = 1, .data = {255}},
        {.offset = WRITEBACK_AT, .size = 1, .flags = 1},
        {.offset = WRITEBACK_AT, .size = 1, .flags = UINT32_MAX},
        {.offset = WRITEBACK_AT, .size = 2, .data = {0, 1}},
        {.offset = WRITEBACK_AT - 1, .size = 2, .data = {0x55, 0}},
        {.offset = 0, .size = 8, .data = {1}},
        {.offset = 0, .size = 60},
        {.offset = 255, .size = 1, .data = {1}},
    };
    struct frontend *fe = start_with_switch();

    for (unsigned i = 0; fe && i < ARRAY_SIZE(wrong); i++) {
        require(set_config(fe, &wrong[i]) == -EREMOTEIO);
        require(shown(fe) == 1);
        case_round_trip(&fe->ring[0], 0);
    }
}

static void switch_outside_the_config_space_ends_the_connection(void)
{
    static const struct vhost_config_msg wrong[] = {
        {.offset = WRITEBACK_AT, .size = 0},        {.offset = 256, .size = 1},
        {.offset = WRITEBACK_AT, .size = 256},      {.offset = UINT32_MAX, .size = 1},
        {.offset = UINT32_MAX, .size = UINT32_MAX},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        uint32_t bytes = (uint32_t)offsetof(struct vhost_config_msg, data) + 1;
        struct frontend *fe = start_with_switch();
        const struct vhost_out out = {.request = VHOST_SET_CONFIG,
                                      .flags = VHOST_FLAG_VERSION | VHOST_FLAG_NEED_REPLY,
                                      .size = bytes,
                                      .len = bytes,
                                      .payload = &wrong[i]};

        if (fe) {
            require(vhost_send(frontend_sock(fe), &out) == 0);
            require(case_was_refused(fe));
            fe = start_with_switch();
            require(fe && shown(fe) == 1);
        }
    }
}

static void switch_by_a_driver_that_has_not_accepted_it_is_refused(void)
{
    struct frontend_opts opts = case_opts();
    struct frontend *fe = case_start(&opts);
    uint8_t before = shown(fe);

    require(switch_to(fe, 0) == -EREMOTEIO);
    require(switch_to(fe, 1) == -EREMOTEIO);
    require(shown(fe) == before);
    case_round_trip(&fe->ring[0], 0);
}

#define CASE(name)  \
    {               \
#name, name \
    }

const struct frontend_case cache_cases[] = {
    CASE(switch_of_the_cache_outlasts_connections_and_resets),
    CASE(switch_of_the_cache_loses_no_requests),
    CASE(switch_that_cannot_be_is_refused_and_nothing_else),
    CASE(switch_outside_the_config_space_ends_the_connection),
    CASE(switch_by_a_driver_that_has_not_accepted_it_is_refused),
    {0},
};
