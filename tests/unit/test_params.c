/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/block/engine.h"
#include "core/device/device_choice.h"
#include "daemon/disk_config.h"
#include "daemon/disk_limits.h"
#include "daemon/disk_params.h"
#include "daemon/params.h"
#include "tests/unit/no_rates.h"

struct target {
    char word[8];
    char mode[8];
    bool flag;
    int64_t number;
    int64_t power;
    struct box {
        int64_t depth;
    } box;
};

static const char *const modes[] = {"fast", "slow", NULL};
static const struct param inner_table[] = {
    {"depth", .type = PARAM_INTEGER, .offset = offsetof(struct box, depth), .value = 3, .max = 9,
     .help = "how deep"},
    {NULL},
};
static const struct param table[] = {
    {"word", .type = PARAM_STRING, .is_required = true, .offset = offsetof(struct target, word),
     .size = 8, .help = "a word"},
    {"mode", .type = PARAM_STRING, .offset = offsetof(struct target, mode), .size = 8,
     .text = "fast", .choices = modes, .help = "a mode"},
    {"flag", .type = PARAM_BOOL, .offset = offsetof(struct target, flag), .help = "a flag"},
    {"number", .type = PARAM_INTEGER, .offset = offsetof(struct target, number), .value = 7,
     .min = -1, .max = 100, .help = "a number"},
    {"power", .type = PARAM_INTEGER, .offset = offsetof(struct target, power), .max = 64,
     .is_power_of_2 = true, .help = "a power"},
    {"box", .type = PARAM_OBJECT, .offset = offsetof(struct target, box), .members = inner_table,
     .help = "a box"},
    {NULL},
};

static int read_text(const char *text, struct target *target, struct err *err)
{
    json_auto_t *object = json_loads(text, 0, NULL);

    assert_non_null(object);
    memset(target, 0xff, sizeof(*target));
    err->text[0] = '\0';
    return params_read(object, table, "", target, err);
}

static void assert_refused(const char *text, const char *why)
{
    struct target target;
    struct err err;

    assert_int_equal(read_text(text, &target, &err), -EINVAL);
    assert_string_equal(err.text, why);
}

static void absent_members_have_their_defaults(void **state)
{
    struct target target;
    struct err err;

    assert_int_equal(read_text("{\"word\":\"abc\"}", &target, &err), 0);
    assert_string_equal(target.word, "abc");
    assert_string_equal(target.mode, "fast");
    assert_false(target.flag);
    assert_int_equal(target.number, 7);
    assert_int_equal(target.power, 0);
    assert_int_equal(target.box.depth, 3);
}

static void given_members_are_read(void **state)
{
    struct target target;
    struct err err;

    assert_int_equal(read_text("{\"word\":\"abcdefg\",\"mode\":\"slow\",\"flag\":true,"
                               "\"number\":-1,\"power\":64,\"box\":{\"depth\":9}}",
                               &target, &err),
                     0);
    assert_string_equal(target.word, "abcdefg");
    assert_string_equal(target.mode, "slow");
    assert_true(target.flag);
    assert_int_equal(target.number, -1);
    assert_int_equal(target.power, 64);
    assert_int_equal(target.box.depth, 9);
}

static void unknown_members_are_named(void **state)
{
    assert_refused("{\"word\":\"a\",\"wrod\":1}", "unknown member \"wrod\"");
    assert_refused("{\"word\":\"a\",\"box\":{\"x\":1}}", "box: unknown member \"x\"");
}

static void wrong_types_are_named(void **state)
{
    assert_refused("{\"word\":1}", "word: must be a string, not an integer");
    assert_refused("{\"word\":null}", "word: must be a string, not null");
    assert_refused("{\"word\":\"a\",\"flag\":0}", "flag: must be a boolean, not an integer");
    assert_refused("{\"word\":\"a\",\"number\":1.5}", "number: must be an integer, not a fraction");
    assert_refused("{\"word\":\"a\",\"number\":\"1\"}", "number: must be an integer, not a string");
    assert_refused("{\"word\":\"a\",\"box\":[]}", "box: must be an object, not an array");
    assert_refused("{\"word\":\"a\",\"box\":{\"depth\":true}}",
                   "box.depth: must be an integer, not a boolean");
}

static void missing_members_are_named(void **state)
{
    assert_refused("{}", "word: is missing");
}

static void ranges_are_told(void **state)
{
    assert_refused("{\"word\":\"a\",\"number\":101}",
                   "number: 101 is out of range, -1 to 100 are allowed");
    assert_refused("{\"word\":\"a\",\"number\":-2}",
                   "number: -2 is out of range, -1 to 100 are allowed");
    assert_refused("{\"word\":\"a\",\"power\":3}", "power: 3 is not a power of two");
    assert_refused("{\"word\":\"a\",\"mode\":\"\"}", "mode: is empty");
    assert_refused("{\"word\":\"a\",\"mode\":\"medium\"}",
                   "mode: \"medium\" is not allowed, must be one of \"fast\", \"slow\"");
    assert_refused("{\"word\":\"abcdefgh\"}", "word: is 8 bytes long, at most 7 are allowed");
}

static void what_is_written_reads_the_same(void **state)
{
    struct target target;
    struct target again;
    struct err err;
    char *text;

    assert_int_equal(
        read_text("{\"word\":\"abc\",\"flag\":true,\"box\":{\"depth\":0}}", &target, &err), 0);
    {
        json_auto_t *object = params_write(table, &target);

        text = json_dumps(object, JSON_COMPACT);
    }
    assert_string_equal(text, "{\"word\":\"abc\",\"mode\":\"fast\",\"flag\":true,\"number\":7,"
                              "\"power\":0,\"box\":{\"depth\":0}}");
    assert_int_equal(read_text(text, &again, &err), 0);
    assert_string_equal(again.word, target.word);
    assert_int_equal(again.box.depth, 0);
    free(text);
}

static void table_describes_itself(void **state)
{
    json_auto_t *list = params_describe(table);
    const json_t *number = json_array_get(list, 3);

    assert_int_equal(json_array_size(list), 6);
    assert_string_equal(json_string_value(json_object_get(number, "name")), "number");
    assert_string_equal(json_string_value(json_object_get(number, "type")), "integer");
    assert_int_equal(json_integer_value(json_object_get(number, "default")), 7);
    assert_int_equal(json_integer_value(json_object_get(number, "max")), 100);
    assert_int_equal(json_array_size(json_object_get(json_array_get(list, 5), "members")), 1);
}

/* ---- changes: what is not given stays as it is ---- */

static const struct param live_table[] = {
    {"mode", .type = PARAM_STRING, .offset = offsetof(struct target, mode), .size = 8,
     .text = "fast", .choices = modes, .help = "a mode"},
    {"number", .type = PARAM_INTEGER, .offset = offsetof(struct target, number), .value = 7,
     .max = 100, .help = "a number"},
    {"box", .type = PARAM_OBJECT, .offset = offsetof(struct target, box), .members = inner_table,
     .help = "a box"},
    {NULL},
};
static const struct param change_table[] = {
    {"live", .type = PARAM_GROUP, .members = live_table, .is_change = true},
    {NULL},
};

static struct target change_of(const char *text)
{
    json_auto_t *object = json_loads(text, 0, NULL);
    struct target change;
    struct err err;

    assert_non_null(object);
    memset(&change, 0xff, sizeof(change));
    assert_int_equal(params_read(object, change_table, "", &change, &err), 0);
    return change;
}

static void empty_change_has_nothing(void **state)
{
    struct target change = change_of("{}");
    struct target target = {.mode = "fast", .number = 7};

    assert_false(params_has_any(change_table, &change));
    assert_false(params_merge(change_table, &target, &change));
    assert_string_equal(target.mode, "fast");
    assert_int_equal(target.number, 7);
}

static void change_has_what_is_given_zero_too(void **state)
{
    struct target change = change_of("{\"number\":0}");
    struct target target = {.mode = "fast", .number = 7, .power = 5};

    assert_true(params_has_any(change_table, &change));
    assert_true(params_merge(change_table, &target, &change));
    assert_string_equal(target.mode, "fast");
    assert_int_equal(target.number, 0);
    assert_int_equal(target.power, 5);
    assert_false(params_merge(change_table, &target, &change));
    change = change_of("{\"mode\":\"slow\",\"number\":0}");
    assert_true(params_merge(change_table, &target, &change));
    assert_string_equal(target.mode, "slow");
}

static void change_describes_no_defaults(void **state)
{
    json_auto_t *list = params_describe(change_table);

    assert_null(json_object_get(json_array_get(list, 0), "default"));
    assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "values")), 2);
    assert_null(json_object_get(json_array_get(list, 1), "default"));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "max")), 100);
}

/* Groups are no objects, objects are. */
static void changes_of_objects_within_are_merged(void **state)
{
    struct target change = change_of("{\"box\":{\"depth\":0}}");
    struct target target = {.mode = "fast", .box.depth = 3};

    assert_true(params_has_any(change_table, &change));
    assert_true(params_merge(change_table, &target, &change));
    assert_int_equal(target.box.depth, 0);
    assert_string_equal(target.mode, "fast");
    assert_false(params_merge(change_table, &target, &change));
    change = change_of("{\"box\":{}}");
    assert_false(params_has_any(change_table, &change));
}

static void what_is_said_has_every_row(void **state)
{
    struct target target = {.mode = "fast", .number = -1, .box.depth = 2};
    char text[64];

    params_say(live_table, &target, text, sizeof(text));
    assert_string_equal(text, "mode fast, number -1, box depth 2");
    params_say(live_table, &target, text, 8);
    assert_string_equal(text, "mode fa");
}

/* ---- kinds: what there is besides depends on one member ---- */

struct vehicle {
    char kind[8];
    int64_t wheels;
    int64_t masts;
    int64_t length;
    char colour[8];
    bool is_fast;
};

#define VEHICLE(member) .offset = offsetof(struct vehicle, member)
#define LENGTH                                                                       \
    {                                                                                \
        "length", .type = PARAM_BYTES, VEHICLE(length), .max = 9, .help = "how long" \
    }

static const struct param car_rows[] = {
    {"wheels", .type = PARAM_INTEGER, VEHICLE(wheels), .is_required = true, .min = 3, .max = 4,
     .help = "how many"},
    LENGTH,
    {"colour", .type = PARAM_STRING, VEHICLE(colour), .size = 8, .help = "of its paint"},
    {NULL},
};
static const struct param ship_rows[] = {
    LENGTH,
    {"masts", .type = PARAM_INTEGER, VEHICLE(masts), .value = 2, .max = 5, .is_told = true,
     .help = "how many"},
    {NULL},
};
static const struct param_kind car = {"car", car_rows};
static const struct param_kind ship = {"ship", ship_rows};
static const struct param_kind *const vehicles[] = {&car, &ship, NULL};
static const struct param vehicle_rows[] = {
    {"kind", .type = PARAM_KIND, VEHICLE(kind), .size = 8, .is_required = true, .is_told = true,
     .kinds = vehicles, .help = "which"},
    {"fast", .type = PARAM_BOOL, VEHICLE(is_fast), .help = "is it?"},
    {NULL},
};
static const struct param vehicle_table[] = {
    {"vehicle", .type = PARAM_OBJECT, .members = vehicle_rows, .is_required = true,
     .help = "a vehicle"},
    {NULL},
};

static int read_vehicle(const char *text, struct vehicle *vehicle, struct err *err)
{
    json_auto_t *object = json_loads(text, 0, NULL);

    assert_non_null(object);
    memset(vehicle, 0xff, sizeof(*vehicle));
    err->text[0] = '\0';
    return params_read(object, vehicle_table, "", vehicle, err);
}

static void assert_vehicle_refused(const char *text, const char *why)
{
    struct vehicle vehicle;
    struct err err;

    assert_int_equal(read_vehicle(text, &vehicle, &err), -EINVAL);
    assert_string_equal(err.text, why);
}

/* Whatever the order in the object, and defaults of others as files of before have them. */
static void kind_has_its_own_members(void **state)
{
    struct vehicle vehicle;
    struct err err;

    assert_int_equal(read_vehicle("{\"vehicle\":{\"length\":7,\"fast\":true,\"wheels\":4,"
                                  "\"masts\":2,\"kind\":\"car\"}}",
                                  &vehicle, &err),
                     0);
    assert_string_equal(vehicle.kind, "car");
    assert_int_equal(vehicle.wheels, 4);
    assert_int_equal(vehicle.masts, 2);
    assert_int_equal(vehicle.length, 7);
    assert_string_equal(vehicle.colour, "");
    assert_true(vehicle.is_fast);
    assert_int_equal(read_vehicle("{\"vehicle\":{\"kind\":\"ship\",\"masts\":0}}", &vehicle, &err),
                     0);
    assert_int_equal(vehicle.masts, 0);
    assert_int_equal(vehicle.wheels, 0);
}

static void members_of_other_kinds_are_refused(void **state)
{
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"car\",\"wheels\":4,\"masts\":1}}",
                           "vehicle.masts: goes with kind \"ship\" only");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"ship\",\"colour\":\"red\"}}",
                           "vehicle.colour: goes with kind \"car\" only");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"ship\",\"wheels\":4}}",
                           "vehicle.wheels: goes with kind \"car\" only");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"ship\",\"colour\":5}}",
                           "vehicle.colour: must be a string, not an integer");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"ship\",\"sails\":5}}",
                           "vehicle: unknown member \"sails\"");
}

static void kind_itself_is_checked(void **state)
{
    assert_vehicle_refused("{\"vehicle\":{}}", "vehicle.kind: is missing");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"plane\"}}",
                           "vehicle.kind: \"plane\" is not allowed, must be one of \"car\", "
                           "\"ship\"");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":null}}",
                           "vehicle.kind: must be a string, not null");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"\"}}", "vehicle.kind: is empty");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"car\"}}", "vehicle.wheels: is missing");
    assert_vehicle_refused("{\"vehicle\":{\"kind\":\"car\",\"wheels\":5}}",
                           "vehicle.wheels: 5 is out of range, 3 to 4 are allowed");
}

static void assert_text(json_t *object, const char *expected)
{
    char *text = json_dumps(object, JSON_COMPACT);

    assert_string_equal(text, expected);
    free(text);
    json_decref(object);
}

static void all_rows_are_written_and_some_are_told(void **state)
{
    struct vehicle ship_now = {.kind = "ship", .masts = 3};
    struct vehicle car_now = {.kind = "car", .wheels = 4, .masts = 2, .colour = "red"};

    assert_text(params_write(vehicle_table, &car_now),
                "{\"vehicle\":{\"kind\":\"car\",\"wheels\":4,\"length\":0,\"colour\":\"red\","
                "\"masts\":2,\"fast\":false}}");
    assert_text(params_tell(vehicle_rows, &car_now), "{\"kind\":\"car\"}");
    assert_text(params_tell(vehicle_rows, &ship_now), "{\"kind\":\"ship\",\"masts\":3}");
    assert_string_equal(params_differ(vehicle_rows, &car_now, &ship_now), "kind");
    (void)snprintf(ship_now.kind, sizeof(ship_now.kind), "car");
    assert_string_equal(params_differ(vehicle_rows, &car_now, &ship_now), "wheels");
}

static void help_says_whose_a_row_is(void **state)
{
    json_auto_t *list = params_describe(vehicle_rows);
    static const char *const help[] = {
        "which", "car: how many", "how long", "car: of its paint", "ship: how many", "is it?"};

    assert_int_equal(json_array_size(list), ARRAY_SIZE(help));
    for (size_t i = 0; i < ARRAY_SIZE(help); i++) {
        const json_t *row = json_array_get(list, i);

        assert_string_equal(json_string_value(json_object_get(row, "help")), help[i]);
        assert_int_equal(json_is_true(json_object_get(row, "required")), i == 0);
    }
    assert_int_equal(json_array_size(json_object_get(json_array_get(list, 0), "values")), 2);
}

static bool is_same_text(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* Each row lies within its struct, and a row of several kinds is the same for all. */
static void assert_rows_fit(const struct param *rows, size_t target_size)
{
    struct param_walk at = param_walk(rows);

    while (param_walk_next(&at)) {
        const struct param *param = at.param;
        size_t size = param_is_text(param)     ? param->size
                      : param_is_number(param) ? sizeof(int64_t)
                                               : sizeof(bool);

        assert_true(strlen(param->name) < PARAM_OPTION_BYTES);
        assert_true(at.offset + size <= target_size);
        assert_true(param->value >= param->min && param->value <= param->max);
        if (param->type == PARAM_OBJECT) {
            assert_rows_fit(param->members, target_size - at.offset);
        }
        for (unsigned i = 0; at.chooser && at.chooser->kinds[i]; i++) {
            const struct param *row = param_of_kind(at.chooser->kinds[i], param->name);

            assert_true(!row ||
                        (row->type == param->type && row->offset == param->offset &&
                         row->value == param->value && is_same_text(row->text, param->text)));
        }
    }
}

static void rows_of_disks_fit(void **state)
{
    assert_rows_fit(disk_params, sizeof(struct disk_config));
    assert_rows_fit(settings_params, sizeof(struct settings));
}

/* ---- disk_config: what a table cannot say ---- */

static int complete(const char *text, struct disk_config *config, struct err *err)
{
    json_auto_t *object = json_loads(text, 0, NULL);
    int ret;

    assert_non_null(object);
    err->text[0] = '\0';
    ret = params_read(object, disk_params, "", config, err);
    return ret < 0 ? ret : disk_config_complete(config, "/run/vblk", err);
}

static void assert_disk_refused(const char *text, const char *member)
{
    static struct disk_config config;
    struct err err;

    assert_true(complete(text, &config, &err) < 0);
    if (strncmp(err.text, member, strlen(member)) != 0) {
        print_error("%s\n  was refused with: %s\n", text, err.text);
        fail();
    }
}

static void disk_gets_socket_and_serial_from_its_name(void **state)
{
    static struct disk_config config;
    struct err err;

    assert_int_equal(complete("{\"name\":\"a-name-longer-than-20-bytes\","
                              "\"image\":{\"type\":\"null\",\"size\":512}}",
                              &config, &err),
                     0);
    assert_string_equal(config.socket, "/run/vblk/a-name-longer-than-20-bytes.sock");
    assert_string_equal(config.serial, "a-name-long-31f20335");
    assert_int_equal(config.queues, 16);
    assert_int_equal(config.queue_size, 32768);
}

/* It has to be the same for ever: guests find their disks by it. */
static void default_serial_tells_long_names_apart(void **state)
{
    static struct disk_config config;

    (void)snprintf(config.name, sizeof(config.name), "exactly-twenty-bytes");
    disk_config_default_serial(&config, 0);
    assert_string_equal(config.serial, "exactly-twenty-bytes");
    (void)snprintf(config.name, sizeof(config.name), "vm1-a-name-that-ends-with-a");
    disk_config_default_serial(&config, 0);
    assert_string_equal(config.serial, "vm1-a-name--2d5a1a89");
    (void)snprintf(config.name, sizeof(config.name), "vm1-a-name-that-ends-with-b");
    disk_config_default_serial(&config, 0);
    assert_string_equal(config.serial, "vm1-a-name--2a5a15d0");
    disk_config_default_serial(&config, 1);
    assert_string_equal(config.serial, "vm1-a-name--5c15fdad");
    (void)snprintf(config.name, sizeof(config.name), "vda");
    disk_config_default_serial(&config, 1);
    assert_string_equal(config.serial, "vda-5bbcac47");
}

#define NULL_IMAGE ",\"image\":{\"type\":\"null\",\"size\":512}}"

static void bad_names_are_refused(void **state)
{
    assert_disk_refused("{\"name\":\"\"" NULL_IMAGE, "name:");
    assert_disk_refused("{\"name\":\".hidden\"" NULL_IMAGE, "name:");
    assert_disk_refused("{\"name\":\"-dash\"" NULL_IMAGE, "name:");
    assert_disk_refused("{\"name\":\"a/b\"" NULL_IMAGE, "name:");
    assert_disk_refused("{\"name\":\"a b\"" NULL_IMAGE, "name:");
    assert_disk_refused("{\"name\":\"a\\nb\"" NULL_IMAGE, "name:");
    assert_disk_refused("{\"name\":\"\\u00e9\"" NULL_IMAGE, "name:");
    assert_disk_refused("{\"name\":\"0123456789012345678901234567890123456789"
                        "012345678901234567890123\"" NULL_IMAGE,
                        "name:");
}

static void contradictions_are_refused(void **state)
{
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"null\"}}", "image.size:");
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"null\",\"size\":512,"
                        "\"path\":\"/x\"}}",
                        "image.path:");
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"null\",\"size\":512,"
                        "\"create\":true}}",
                        "image.create:");
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"file\"}}", "image.path:");
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"file\",\"path\":\"x\"}}",
                        "image.path:");
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"file\",\"path\":\"/x\","
                        "\"create\":true}}",
                        "image.size:");
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"file\",\"path\":\"/x\","
                        "\"size\":512}}",
                        "image.size:");
    assert_disk_refused("{\"name\":\"a\",\"image\":{\"type\":\"file\",\"path\":\"/x\","
                        "\"delay_ms\":1}}",
                        "image.delay_ms:");
    assert_disk_refused("{\"name\":\"a\",\"logical_block_size\":256" NULL_IMAGE,
                        "logical_block_size:");
    assert_disk_refused("{\"name\":\"a\",\"socket\":\"x.sock\"" NULL_IMAGE, "socket:");
    assert_disk_refused("{\"name\":\"a\",\"engine\":\"aio\"" NULL_IMAGE, "engine:");
}

static void sectors_are_not_emulated_where_others_write_to_their_blocks(void **state)
{
    static struct disk_config config;
    struct err err;

    assert_disk_refused("{\"name\":\"a\",\"emulate_512\":true,\"image\":{\"type\":\"file\","
                        "\"path\":\"/x\",\"shareable\":true}}",
                        "emulate_512: does not go with shareable");
    assert_int_equal(complete("{\"name\":\"a\",\"emulate_512\":true,\"readonly\":true,"
                              "\"image\":{\"type\":\"file\",\"path\":\"/x\",\"shareable\":true}}",
                              &config, &err),
                     0);
}

static void limits_that_no_disk_can_have_are_refused(void **state)
{
    static const char *const cases[][2] = {
        {"\"seg_max\":63,\"queue_size\":64", "seg_max: 63 do not fit into a queue of 64"},
        {"\"seg_max\":2,\"queue_size\":2", "seg_max: 2 do not fit into a queue of 2"},
        {"\"size_max\":3584", "size_max: 3584 bytes are less than a page"},
        {"\"alignment_offset\":100", "alignment_offset: 100 bytes are not whole blocks of 512"},
        {"\"alignment_offset\":8388608", "alignment_offset: 8388608 is out of range"},
        {"\"min_io\":4608,\"logical_block_size\":4096", "min_io: 4608 bytes are not whole"},
        {"\"min_io\":2147483648", "min_io: 2147483648 is out of range"},
        {"\"opt_io\":513", "opt_io: 513 bytes are not whole blocks of 512"},
        {"\"emulate_512\":true,\"logical_block_size\":4096",
         "logical_block_size: 4096 does not go with emulate_512, by which it is 512"},
        {"\"size_max\":4097", "size_max: 4097 bytes are not whole blocks of 512"},
        {"\"size_max\":4608,\"logical_block_size\":4096", "size_max: 4608 bytes are not whole"},
        {"\"discard_granularity\":100", "discard_granularity: 100 bytes are not whole blocks"},
        {"\"max_discard\":4294967295", "max_discard: 4294967295 bytes are not whole blocks"},
        {"\"max_write_zeroes\":513", "max_write_zeroes: 513 bytes are not whole blocks"},
        {"\"max_discard\":512,\"discard_granularity\":1024", "max_discard: 512 bytes are less"},
        {"\"max_discard\":512,\"discard\":\"off\"", "max_discard: does not go with --discard off"},
        {"\"max_discard_segments\":1,\"readonly\":true",
         "max_discard_segments: does not go with --readonly"},
        {"\"discard_granularity\":512,\"discard\":\"off\"", "discard_granularity: does not go"},
        {"\"max_write_zeroes\":512,\"write_zeroes\":\"off\"", "max_write_zeroes: does not go"},
        {"\"max_write_zeroes_segments\":1,\"write_zeroes\":\"off\"",
         "max_write_zeroes_segments: does not go with --write-zeroes off"},
    };
    char text[256];

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        (void)snprintf(text, sizeof(text), "{\"name\":\"a\",%s" NULL_IMAGE, cases[i][0]);
        assert_disk_refused(text, cases[i][1]);
    }
}

static void zeroes_are_not_detected_where_it_is_of_no_use(void **state)
{
    static struct disk_config config;
    struct settings change = {.poll_us = PARAM_ABSENT,
                              .poll_cpu = PARAM_ABSENT,
                              .batch = PARAM_ABSENT,
                              .threads = PARAM_ABSENT,
                              SAME_RATES,
                              .detect_zeroes = "unmap"};
    struct err err;

    assert_disk_refused("{\"name\":\"a\",\"detect_zeroes\":\"yes\"" NULL_IMAGE, "detect_zeroes:");
    assert_disk_refused("{\"name\":\"a\",\"detect_zeroes\":\"on\",\"readonly\":true" NULL_IMAGE,
                        "detect_zeroes: \"on\" is of no use to a disk that is read-only");
    assert_disk_refused(
        "{\"name\":\"a\",\"detect_zeroes\":\"unmap\",\"discard\":\"off\"" NULL_IMAGE,
        "detect_zeroes: \"unmap\" does not go with --discard off");
    assert_int_equal(
        complete("{\"name\":\"a\",\"detect_zeroes\":\"on\",\"discard\":\"off\"" NULL_IMAGE, &config,
                 &err),
        0);
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    memcpy(config.discard, "on", 3);
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
    config.readonly = true;
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    memcpy(change.detect_zeroes, "off", 4);
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
}

static void error_policy_is_one_of_its_direction(void **state)
{
    static struct disk_config config;
    struct settings change = {.poll_us = PARAM_ABSENT,
                              .poll_cpu = PARAM_ABSENT,
                              .batch = PARAM_ABSENT,
                              .threads = PARAM_ABSENT,
                              .on_write_error = "stop"};
    struct err err;

    assert_disk_refused("{\"name\":\"a\",\"on_read_error\":\"enospc\"" NULL_IMAGE,
                        "on_read_error:");
    assert_disk_refused("{\"name\":\"a\",\"on_write_error\":\"stop\",\"readonly\":true" NULL_IMAGE,
                        "on_write_error: \"stop\" is of no use to a disk that is read-only");
    assert_int_equal(
        complete("{\"name\":\"a\",\"on_read_error\":\"stop\",\"readonly\":true" NULL_IMAGE, &config,
                 &err),
        0);
    assert_string_equal(config.settings.on_write_error, "enospc");
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    config.readonly = false;
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
}

static void limits_are_what_was_asked_for_or_0_for_defaults(void **state)
{
    static struct disk_config config;
    struct blk_limits limits;
    struct err err;

    assert_int_equal(complete("{\"name\":\"a\",\"queue_size\":64" NULL_IMAGE, &config, &err), 0);
    limits = disk_limits_of(&config);
    assert_int_equal(limits.size_max, 0);
    assert_int_equal(limits.discard_bytes | limits.zeroes_bytes, 0);
    assert_int_equal(limits.discard_count | limits.zeroes_count, 0);
    assert_int_equal(disk_limits_seg_max(&config), 62);
    assert_int_equal(disk_limits_discard_block(&config), BLK_DISCARD_BLOCK_ANY);
    assert_int_equal(complete("{\"name\":\"a\",\"seg_max\":1024,\"size_max\":4294966784,"
                              "\"discard_granularity\":2147483648,\"max_discard\":2199023255040,"
                              "\"max_discard_segments\":16384,\"max_write_zeroes\":512,"
                              "\"max_write_zeroes_segments\":1" NULL_IMAGE,
                              &config, &err),
                     0);
    limits = disk_limits_of(&config);
    assert_int_equal(limits.size_max, UINT32_MAX - 511);
    assert_int_equal(limits.discard_bytes, BLK_SECTORS_MAX_BYTES);
    assert_int_equal(limits.discard_count, 16384);
    assert_int_equal(limits.zeroes_bytes, 512);
    assert_int_equal(limits.zeroes_count, 1);
    assert_int_equal(disk_limits_seg_max(&config), 1024);
    assert_int_equal(disk_limits_discard_block(&config), 1u << 31);
}

static void engine_that_is_not_built_in_is_refused(void **state)
{
    static struct disk_config config;
    struct settings change = {.poll_us = PARAM_ABSENT,
                              .poll_cpu = PARAM_ABSENT,
                              .threads = PARAM_ABSENT,
                              SAME_RATES,
                              .engine = "io_uring"};
    struct err err;
    int ret;

    (void)snprintf(config.image.type, sizeof(config.image.type), "file");
    config.queues = 1;
    ret = disk_config_check_change(&config, &change, &err);
    if (engine_has_uring()) {
        assert_int_equal(ret, 0);
    } else {
        assert_int_equal(ret, -ENOTSUP);
        assert_string_equal(err.text, "engine: vblkd is built without io_uring; "
                                      "use engine auto or aio");
    }
}

static void changes_are_checked_against_the_disk(void **state)
{
    static struct disk_config config;
    struct settings change = {
        .poll_us = PARAM_ABSENT, .poll_cpu = PARAM_ABSENT, .threads = PARAM_ABSENT, SAME_RATES};
    struct err err;

    assert_int_equal(complete("{\"name\":\"a\"" NULL_IMAGE, &config, &err), 0);
    assert_string_equal(config.settings.engine, "auto");
    assert_int_equal(config.settings.poll_us, DEVICE_POLL_US_DEFAULT);
    assert_int_equal(config.settings.poll_cpu, DEVICE_POLL_CPU_DEFAULT);
    change.poll_us = 0;
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
    (void)snprintf(change.engine, sizeof(change.engine), "aio");
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    (void)snprintf(change.engine, sizeof(change.engine), "auto");
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
    config.queues = 2;
    change.threads = 2;
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
    change.threads = 3;
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    assert_string_equal(err.text, "threads: 3 are more than the 2 queues of the disk; each serves "
                                  "one queue at least: up to 2 are of use");
}

/* Of two that contradict each other one is named; none is left out in silence. */
static void what_does_not_go_together_is_refused_by_name(void **state)
{
    static const char *const cases[][3] = {
        /* beside the image, in it, what is named */
        {"\"threads\":2,\"queues\":1", "\"type\":\"null\",\"size\":512", "threads: "},
        {"\"threads\":2,\"queue_threads\":\"1\"", "\"type\":\"null\",\"size\":512",
         "queue_threads: "},
        {"\"seg_max\":200,\"queue_size\":128", "\"type\":\"null\",\"size\":512", "seg_max: "},
        {"\"engine\":\"io_uring\"", "\"type\":\"null\",\"size\":512", "engine: "},
        {"\"incoming\":true", "\"type\":\"null\",\"size\":512", "incoming: "},
        {"\"readonly\":true,\"detect_zeroes\":\"on\"", "\"type\":\"file\",\"path\":\"/x\"",
         "detect_zeroes: "},
        {"\"discard\":\"off\",\"detect_zeroes\":\"unmap\"", "\"type\":\"file\",\"path\":\"/x\"",
         "detect_zeroes: "},
        {"\"discard\":\"off\",\"max_discard\":4096", "\"type\":\"file\",\"path\":\"/x\"",
         "max_discard: "},
        {"\"readonly\":true,\"max_write_zeroes\":4096", "\"type\":\"file\",\"path\":\"/x\"",
         "max_write_zeroes: "},
        {"\"logical_block_size\":4096,\"physical_block_size\":512",
         "\"type\":\"file\",\"path\":\"/x\"", "physical_block_size: "},
        {"\"readonly\":true", "\"type\":\"file\",\"path\":\"/x\",\"create\":true,\"size\":1048576",
         "readonly: "},
        {"\"incoming\":true", "\"type\":\"file\",\"path\":\"/x\",\"create\":true,\"size\":1048576",
         "incoming: "},
        {"\"incoming\":true,\"readonly\":true", "\"type\":\"file\",\"path\":\"/x\"", "incoming: "},
        {"\"queues\":1", "\"type\":\"file\",\"path\":\"/x\",\"size\":512", "image.size: "},
        {"\"queues\":1", "\"type\":\"file\",\"path\":\"/x\",\"create\":true", "image.size: "},
        {"\"queues\":1", "\"type\":\"file\",\"path\":\"/x\",\"preallocation\":\"full\"",
         "image.preallocation: "},
        {"\"queues\":1", "\"type\":\"file\",\"path\":\"/x\",\"error\":\"EIO\"", "image.error: "},
        {"\"queues\":1", "\"type\":\"null\",\"size\":512,\"create\":true", "image.create: "},
        {"\"queues\":1", "\"type\":\"null\",\"size\":512,\"offset\":512", "image.offset: "},
        {"\"queues\":1", "\"type\":\"null\",\"size\":512,\"error_every\":5", "image.error_every: "},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[256];

        (void)snprintf(text, sizeof(text), "{\"name\":\"a\",%s,\"image\":{%s}}", cases[i][0],
                       cases[i][1]);
        assert_disk_refused(text, cases[i][2]);
    }
}

static void modes_of_sockets_are_octal(void **state)
{
    static const char *const good[] = {"0600", "660", "0", "7", "0777", NULL};
    static const char *const bad[] = {"888", "1777", "00600", "0x1ff", "u+w", "-1", "06 0", NULL};
    static struct disk_config config;
    char text[96];
    struct err err;

    for (unsigned i = 0; good[i]; i++) {
        (void)snprintf(text, sizeof(text), "{\"name\":\"a\",\"socket_mode\":\"%s\"" NULL_IMAGE,
                       good[i]);
        assert_int_equal(complete(text, &config, &err), 0);
    }
    for (unsigned i = 0; bad[i]; i++) {
        (void)snprintf(text, sizeof(text), "{\"name\":\"a\",\"socket_mode\":\"%s\"" NULL_IMAGE,
                       bad[i]);
        assert_disk_refused(text, "socket_mode: ");
    }
}

/* A disk that comes back is not asked whether its CPUs are there. */
static void cpus_are_a_list_and_a_change_has_those_that_are_there(void **state)
{
    static struct disk_config config;
    struct settings change = {
        .poll_us = PARAM_ABSENT, .poll_cpu = PARAM_ABSENT, .threads = PARAM_ABSENT};
    struct err err;

    assert_disk_refused("{\"name\":\"a\",\"cpus\":\"0-\"" NULL_IMAGE,
                        "cpus: \"0-\" is no list of CPUs");
    assert_int_equal(complete("{\"name\":\"a\",\"cpus\":\"8191\"" NULL_IMAGE, &config, &err), 0);
    assert_int_equal(disk_config_check_here(&config, &err), -EINVAL);
    assert_non_null(strstr(err.text, "cpus: there is no CPU 8191 that vblkd may use; it may use "));
    (void)snprintf(change.cpus, sizeof(change.cpus), "8191");
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    (void)snprintf(change.cpus, sizeof(change.cpus), "all");
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
}

/* By what there will be, whichever of the two is changed. */
static void map_of_queues_is_checked_against_threads_and_queues(void **state)
{
    static struct disk_config config;
    struct settings change = {
        .poll_us = PARAM_ABSENT, .poll_cpu = PARAM_ABSENT, .threads = PARAM_ABSENT};
    struct err err;

    assert_disk_refused("{\"name\":\"a\",\"threads\":2,\"queue_threads\":\"0\"" NULL_IMAGE,
                        "queue_threads: thread 1 of 2 would serve no queue");
    assert_disk_refused("{\"name\":\"a\",\"queue_threads\":\"0,1\"" NULL_IMAGE,
                        "queue_threads: queue 1 is to be served by thread 1");
    assert_disk_refused("{\"name\":\"a\",\"queue_threads\":\"\"" NULL_IMAGE,
                        "queue_threads: is empty");
    assert_int_equal(complete("{\"name\":\"a\",\"threads\":2,\"queue_threads\":\"1,0\"" NULL_IMAGE,
                              &config, &err),
                     0);
    change.threads = 3;
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    assert_non_null(strstr(err.text, "queue_threads: thread 2 of 3 would serve no queue"));
    (void)snprintf(change.queue_threads, sizeof(change.queue_threads), "0,1,2");
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
    change.threads = PARAM_ABSENT;
    assert_int_equal(disk_config_check_change(&config, &change, &err), -EINVAL);
    (void)snprintf(change.queue_threads, sizeof(change.queue_threads), "auto");
    assert_int_equal(disk_config_check_change(&config, &change, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_go_together_is_refused_by_name),
        cmocka_unit_test(modes_of_sockets_are_octal),
        cmocka_unit_test(cpus_are_a_list_and_a_change_has_those_that_are_there),
        cmocka_unit_test(map_of_queues_is_checked_against_threads_and_queues),
        cmocka_unit_test(absent_members_have_their_defaults),
        cmocka_unit_test(given_members_are_read),
        cmocka_unit_test(unknown_members_are_named),
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(missing_members_are_named),
        cmocka_unit_test(ranges_are_told),
        cmocka_unit_test(what_is_written_reads_the_same),
        cmocka_unit_test(table_describes_itself),
        cmocka_unit_test(empty_change_has_nothing),
        cmocka_unit_test(change_has_what_is_given_zero_too),
        cmocka_unit_test(change_describes_no_defaults),
        cmocka_unit_test(changes_of_objects_within_are_merged),
        cmocka_unit_test(what_is_said_has_every_row),
        cmocka_unit_test(kind_has_its_own_members),
        cmocka_unit_test(members_of_other_kinds_are_refused),
        cmocka_unit_test(kind_itself_is_checked),
        cmocka_unit_test(all_rows_are_written_and_some_are_told),
        cmocka_unit_test(help_says_whose_a_row_is),
        cmocka_unit_test(rows_of_disks_fit),
        cmocka_unit_test(disk_gets_socket_and_serial_from_its_name),
        cmocka_unit_test(default_serial_tells_long_names_apart),
        cmocka_unit_test(bad_names_are_refused),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(sectors_are_not_emulated_where_others_write_to_their_blocks),
        cmocka_unit_test(limits_that_no_disk_can_have_are_refused),
        cmocka_unit_test(zeroes_are_not_detected_where_it_is_of_no_use),
        cmocka_unit_test(error_policy_is_one_of_its_direction),
        cmocka_unit_test(limits_are_what_was_asked_for_or_0_for_defaults),
        cmocka_unit_test(engine_that_is_not_built_in_is_refused),
        cmocka_unit_test(changes_are_checked_against_the_disk),
    };

    return unit_run(tests);
}
