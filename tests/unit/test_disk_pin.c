/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <string.h>

#include "daemon/disk_pin.h"
#include "daemon/json_memory.h"
#include "daemon/params.h"
#include "daemon/plane.h"

#define FEATURES (BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_F_VERSION_1))

static const struct plane_geometry shown = {
    .logical_block = 512,
    .physical_block = 4096,
    .alignment = 512,
    .min_io = 8192,
    .opt_io = 65536,
    .chs = {.cylinders = 100, .heads = 8, .sectors = 32},
    .discard_block = 4096,
    .shown = {.features = FEATURES,
              .size_max = 0,
              .seg_max = 7,
              .max_discard_sectors = 8,
              .max_discard_seg = 9},
};

/* As nobody says, but for the text. */
static struct disk_config *config_of(const char *text)
{
    static struct disk_config config;
    json_auto_t *asked =
        json_pack("{s:s, s:{s:s, s:s}}", "name", "vda", "image", "type", "file", "path", "/img");

    memset(&config, 0, sizeof(config));
    assert_int_equal(params_read(asked, disk_params, "", &config, NULL), 0);
    (void)snprintf(config.as_shown, sizeof(config.as_shown), "%s", text);
    return &config;
}

static struct disk_config *config_shown(void)
{
    json_auto_t *object = disk_pin_json(&shown, 4);
    char *text = json_dumps(object, JSON_COMPACT);
    struct disk_config *config = config_of(text);

    assert_true(strlen(text) < sizeof(config->as_shown));
    json_memory_free(text);
    return config;
}

static void what_is_shown_is_told_and_read_again(void **state)
{
    struct disk_config *config = config_shown();
    struct plane_geometry geometry;
    json_auto_t *object = NULL;
    char *text;

    (void)state;
    assert_int_equal(disk_pin_complete(config, NULL), 0);
    assert_int_equal(config->queues, 4);
    assert_true(disk_pin_geometry(config, &geometry));
    assert_int_equal(geometry.size, 0);
    object = disk_pin_json(&geometry, 4);
    text = json_dumps(object, JSON_COMPACT);
    assert_string_equal(text, config->as_shown);
    json_memory_free(text);
    assert_int_equal(disk_pin_complete(config, NULL), 0); /* the state file has it so */
}

static void longest_text_has_room(void **state)
{
    struct plane_geometry geometry;
    json_auto_t *object = NULL;
    char *text;

    (void)state;
    memset(&geometry, 0xff, sizeof(geometry));
    geometry.shown.features = INT64_MAX;
    geometry.zeroes = BLK_ZEROES_UNMAP;
    object = disk_pin_json(&geometry, BLK_MAX_QUEUES);
    text = json_dumps(object, JSON_COMPACT);
    assert_true(strlen(text) < sizeof(((struct disk_config *)NULL)->as_shown));
    json_memory_free(text);
}

static void without_a_text_nothing_is_said(void **state)
{
    struct disk_config *config = config_of("");
    struct plane_geometry geometry;

    (void)state;
    assert_int_equal(disk_pin_complete(config, NULL), 0);
    assert_false(disk_pin_geometry(config, &geometry));
    assert_int_equal(config->queues, 16);
}

static void expect_refused(struct disk_config *config, const char *why)
{
    struct err err = {0};

    assert_int_equal(disk_pin_complete(config, &err), -EINVAL);
    if (!strstr(err.text, why)) {
        fail_msg("%s", err.text);
    }
}

static void what_is_no_such_text_is_refused(void **state)
{
    (void)state;
    expect_refused(config_of("seg_max=7"), "as_shown: \"seg_max=7\" is no JSON object");
    expect_refused(config_of("[]"), "is no JSON object");
    expect_refused(config_of("{}"), "as_shown: it has no features, or no queues");
    expect_refused(config_of("{\"more\":1}"), "as_shown: unknown member \"more\"");
    expect_refused(config_of("{\"num_queues\":65}"), "as_shown.num_queues: 65 is out of range");
    expect_refused(config_of("{\"features\":1,\"num_queues\":1}"),
                   "as_shown: logical block size 0 is no power of two");
}

static void what_is_asked_for_twice_is_refused(void **state)
{
    struct disk_config *config = config_shown();

    (void)state;
    config->seg_max = 100;
    expect_refused(config, "seg_max: does not go with as_shown, which says it");
    config = config_shown();
    (void)snprintf(config->discard, sizeof(config->discard), "off");
    expect_refused(config, "discard: does not go with as_shown");
    config = config_shown();
    (void)snprintf(config->in_order, sizeof(config->in_order), "on");
    expect_refused(config, "in_order: does not go with as_shown");
    config = config_shown();
    config->queues = 2;
    expect_refused(config, "queues: 2 were asked for, and as_shown has 4");
    config = config_shown();
    config->queues = 4;
    config->emulate_512 = true;
    assert_int_equal(disk_pin_complete(config, NULL), 0);
}

static void what_does_not_suit_the_mode_of_the_disk_is_refused(void **state)
{
    struct disk_config *config = config_shown();
    char text[512];

    (void)state;
    config->readonly = true;
    expect_refused(config, "it is of a disk that can be written, and this one is read-only");
    (void)snprintf(text, sizeof(text), "{\"features\":%llu,\"num_queues\":1}",
                   (unsigned long long)BIT(VIRTIO_BLK_F_RO));
    expect_refused(config_of(text), "of a disk that is read-only, and this one can be written");
    (void)snprintf(text, sizeof(text), "{\"features\":%llu,\"num_queues\":1}",
                   (unsigned long long)BIT(VIRTIO_BLK_F_CONFIG_WCE));
    config = config_of(text);
    (void)snprintf(config->image.cache, sizeof(config->image.cache), "directsync");
    expect_refused(config, "which it has none of with --cache directsync");
    config = config_of("{\"features\":1,\"num_queues\":1,\"logical_block_size\":4096}");
    config->emulate_512 = true;
    expect_refused(config, "as_shown: its blocks of 4096 bytes do not go with emulate_512");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shown_is_told_and_read_again),
        cmocka_unit_test(longest_text_has_room),
        cmocka_unit_test(without_a_text_nothing_is_said),
        cmocka_unit_test(what_is_no_such_text_is_refused),
        cmocka_unit_test(what_is_asked_for_twice_is_refused),
        cmocka_unit_test(what_does_not_suit_the_mode_of_the_disk_is_refused),
    };

    json_memory_install();
    return unit_run(tests);
}
