/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/device/device_choice.h"
#include "daemon/json_memory.h"
#include "daemon/disk_params.h"
#include "daemon/params.h"
#include "daemon/state.h"
#include "daemon/state_table.h"
#include "tests/unit/control_world.h"
#include "tests/unit/count_alloc.h"

struct bench {
    struct control_world control;
    char file[96];
    struct state *state;
    struct state_save save;
    bool is_done;
};

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));

    assert_non_null(b);
    control_world_start(&b->control, "state");
    (void)snprintf(b->file, sizeof(b->file), "%s/disks.json", b->control.dir);
    assert_int_equal(state_open(&b->state, b->control.dir, NULL), 0);
    *state = b;
    return 0;
}

static void on_done(void *arg)
{
    ((struct bench *)arg)->is_done = true;
}

static void wait_done(struct bench *b)
{
    control_world_wait(&b->control, &b->is_done);
    b->is_done = false;
}

static int bench_stop(void **state)
{
    struct bench *b = *state;

    control_world_stop(&b->control);
    free(b);
    return 0;
}

static void on_saved(struct state_save *save)
{
    containerof(save, struct bench, save)->is_done = true;
}

static int save(struct bench *b, const struct disk_record *records, size_t count)
{
    char *rows[2] = {NULL};

    assert_true(count <= ARRAY_SIZE(rows));
    for (size_t i = 0; i < count; i++) {
        rows[i] = state_table_row(&records[i], NULL);
    }
    b->save.done = on_saved;
    state_save(b->state, state_table_text((const char *const *)rows, count), &b->save);
    wait_done(b);
    free(rows[0]);
    free(rows[1]);
    return b->save.err.code;
}

static void stop(struct bench *b)
{
    state_stop(b->state, on_done, b);
    wait_done(b);
}

static struct disk_record record_of(const char *name)
{
    struct disk_record record = {.size = 1 << 20,
                                 .logical_block = 512,
                                 .physical_block = 4096,
                                 .is_stopped = true,
                                 .is_writethrough = true};

    record.alignment = 512;
    record.min_io = 8192;
    record.opt_io = 65536;
    record.cylinders = 100;
    record.heads = 8;
    record.sectors = 32;
    record.discard_block = 4096;
    record.zeroes = BLK_ZEROES_UNMAP;
    (void)snprintf(record.config.geometry, sizeof(record.config.geometry), "100,8,32");
    record.shown = (struct disk_shown){
        .features = BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_DISCARD) |
                    BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(62),
        .size_max = 65536,
        .seg_max = 1024,
        .max_discard_sectors = 1,
        .max_discard_seg = 2,
        .max_write_zeroes_sectors = 3,
        .max_write_zeroes_seg = 4,
    };
    (void)snprintf(record.config.discard, sizeof(record.config.discard), "on");
    (void)snprintf(record.config.write_zeroes, sizeof(record.config.write_zeroes), "off");
    (void)snprintf(record.config.config_wce, sizeof(record.config.config_wce), "off");
    (void)snprintf(record.config.packed, sizeof(record.config.packed), "off");
    (void)snprintf(record.config.in_order, sizeof(record.config.in_order), "on");
    (void)snprintf(record.config.name, sizeof(record.config.name), "%s", name);
    (void)snprintf(record.config.socket, sizeof(record.config.socket), "/run/%s.sock", name);
    (void)snprintf(record.config.serial, sizeof(record.config.serial), "%s", name);
    (void)snprintf(record.config.image.type, sizeof(record.config.image.type), "file");
    (void)snprintf(record.config.image.path, sizeof(record.config.image.path), "/img/%s", name);
    (void)snprintf(record.config.image.cache, sizeof(record.config.image.cache), "none");
    record.counters = (struct stats){.type = {[STATS_READ] = {1, 512, 0, 7}}, .freed = INT64_MAX};
    record.config.settings.poll_us = 0;
    record.config.settings.poll_cpu = 25;
    record.config.settings.threads = 2;
    (void)snprintf(record.config.settings.engine, sizeof(record.config.settings.engine), "aio");
    (void)snprintf(record.config.settings.huge_bounce, sizeof(record.config.settings.huge_bounce),
                   "on");
    (void)snprintf(record.config.settings.detect_zeroes,
                   sizeof(record.config.settings.detect_zeroes), "unmap");
    record.config.emulate_512 = true;
    (void)snprintf(record.config.settings.on_read_error,
                   sizeof(record.config.settings.on_read_error), "ignore");
    (void)snprintf(record.config.settings.on_write_error,
                   sizeof(record.config.settings.on_write_error), "stop");
    record.config.settings.rates = (struct rates){
        .of = {{1, 2, 3}, {0, 0, 1}, {0, 0, 1}, {0, 0, 1}, {100, 200, 1}, {300, 0, 1}},
        .iops_size = 4096};
    (void)snprintf(record.config.settings.group, sizeof(record.config.settings.group), "slow");
    record.config.alignment_offset = 512;
    record.config.min_io = 8192;
    record.config.opt_io = 65536;
    (void)snprintf(record.config.settings.queue_threads,
                   sizeof(record.config.settings.queue_threads), "1,0,0");
    (void)snprintf(record.config.settings.cpus, sizeof(record.config.settings.cpus), "0,7000-8191");
    record.config.seg_max = 12;
    record.config.size_max = 65536;
    record.config.discard_granularity = 4096;
    record.config.max_discard = 1 << 20;
    record.config.max_discard_segments = 7;
    record.config.max_write_zeroes_segments = BLK_RANGES; /* none are offered */
    (void)snprintf(record.config.socket_mode, sizeof(record.config.socket_mode), "0660");
    (void)snprintf(record.config.socket_label, sizeof(record.config.socket_label), "a:b:c:s0");
    record.config.socket_owner = 64055;
    record.config.socket_group = UINT32_MAX - 1;
    record.config.queues = 3;
    record.config.queue_size = 128;
    return record;
}

/* Nothing is offered that had limits. */
static void make_readonly(struct disk_config *config)
{
    config->readonly = true;
    config->discard_granularity = 0;
    config->max_discard = 0;
    memset(config->settings.detect_zeroes, 0, sizeof(config->settings.detect_zeroes));
    memcpy(config->settings.detect_zeroes, "off", 3);
    memcpy(config->settings.on_write_error, "enospc", sizeof("enospc"));
    config->max_discard_segments = BLK_RANGES;
}

static void without_a_file_there_are_no_disks(void **state)
{
    struct bench *b = *state;
    struct disk_record *records;
    size_t count = 9;

    assert_int_equal(state_read(b->state, &records, &count, NULL), 0);
    assert_int_equal(count, 0);
    state_free(b->state);
}

static void what_is_saved_is_read_again(void **state)
{
    struct bench *b = *state;
    struct disk_record before[2] = {record_of("vda"), record_of("vdb")};
    struct disk_record *after;
    size_t count;
    struct stat st;

    before[1].is_stopped = false;
    make_readonly(&before[1].config);
    before[1].shown.features |= BIT(VIRTIO_BLK_F_RO);
    (void)disk_opened_keep(&before[1].opened,
                           &(struct image_id){.device = 2049, .inode = UINT64_MAX, .born_ns = 7},
                           "this");
    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    assert_int_equal(save(b, before, 2), 0);
    assert_int_equal(state_read(b->state, &after, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_memory_equal(after, before, sizeof(before));
    assert_int_equal(stat(b->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(after);
    stop(b);
}

static void file_is_replaced_and_never_written_in_place(void **state)
{
    struct bench *b = *state;
    struct disk_record record = record_of("vda");
    struct stat before;
    struct stat after;

    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    assert_int_equal(save(b, &record, 1), 0);
    assert_int_equal(stat(b->file, &before), 0);
    assert_int_equal(save(b, NULL, 0), 0);
    assert_int_equal(stat(b->file, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    stop(b);
}

static void empty_disk_has_no_byte_when_it_comes_back(void **state)
{
    struct disk_record record = record_of("vda");
    struct image_config *image = &record.config.image;
    struct err err = {0};
    char *row;

    (void)snprintf(image->type, sizeof(image->type), "empty");
    image->path[0] = '\0';
    record.size = 0;
    row = state_table_row(&record, &err);
    assert_non_null(row);
    free(row);
    (void)snprintf(image->type, sizeof(image->type), "file");
    (void)snprintf(image->path, sizeof(image->path), "/img/vda");
    assert_null(state_table_row(&record, &err));
    assert_non_null(strstr(err.text, "it is empty"));
}

static void table_without_a_row_is_not_made(void **state)
{
    const char *const rows[] = {"{}", NULL};
    char *text = state_table_text(rows, 1);

    assert_non_null(text);
    free(text);
    assert_null(state_table_text(rows, 2));
}

/* Without memory there is no table, never one that lacks something. */
static void no_allocation_that_fails_makes_a_wrong_table(void **state)
{
    struct disk_record record = record_of("vda");
    struct disk_record *again;
    unsigned long n = 1;
    size_t count;

    make_readonly(&record.config);
    record.shown.features |= BIT(VIRTIO_BLK_F_RO);
    do {
        struct err err = {0};
        char *row;
        char *text;

        fail_alloc(n, false);
        row = state_table_row(&record, &err);
        text = row ? state_table_text((const char *const *)&row, 1) : NULL;
        if (!fail_alloc_end()) {
            n = 0;
        }
        assert_true(row || err.code == -ENOMEM);
        assert_true(text || n > 0);
        if (text) {
            assert_int_equal(state_table_parse("file", text, strlen(text), &again, &count, NULL),
                             0);
            assert_int_equal(count, 1);
            assert_null(params_differ(disk_params, &again->config, &record.config));
            assert_memory_equal(again, &record, sizeof(record));
            free(again);
        }
        free(row);
        free(text);
    } while (n++ > 0);
}

static void row_of_before_says_nothing_of_the_image(void **state)
{
    struct disk_record record = record_of("vda");
    char *row = state_table_row(&record, NULL);
    char *opened = strstr(row, ",\"opened\":{");
    struct disk_record *again;
    char *text;
    size_t count;

    assert_non_null(opened);
    assert_non_null(strstr(opened, "},\"counters\":{")); /* they are the last two */
    (void)strcpy(opened, "}");
    text = state_table_text((const char *const *)&row, 1);
    assert_int_equal(state_table_parse("file", text, strlen(text), &again, &count, NULL), 0);
    assert_int_equal(disk_opened_id(&again->opened, "this").device, 0);
    assert_int_equal(again->counters.freed, 0);
    free(again);
    free(text);
    free(row);
}

static void image_is_known_again_in_the_same_boot_alone(void **state)
{
    struct image_id id = {.device = 2049, .inode = UINT64_MAX, .born_ns = 7};
    struct disk_opened opened = {.boot = ""};
    struct image_id again;

    assert_int_equal(disk_opened_id(&opened, "").device, 0);
    assert_true(disk_opened_keep(&opened, &id, "this"));
    assert_false(disk_opened_keep(&opened, &id, "this"));
    again = disk_opened_id(&opened, "this");
    assert_memory_equal(&again, &id, sizeof(id));
    assert_int_equal(disk_opened_id(&opened, "next").device, 0);
    assert_true(disk_opened_keep(&opened, &id, "next"));
    assert_true(disk_opened_keep(&opened, &(struct image_id){0}, "next"));
    assert_int_equal(disk_opened_id(&opened, "next").device, 0);
}

/* And a table that is right is not called damaged. */
static void no_allocation_that_fails_is_told_as_damage(void **state)
{
    struct disk_record record = record_of("vda");
    char *row = state_table_row(&record, NULL);
    char *text = state_table_text((const char *const *)&row, 1);
    struct disk_record *again;
    unsigned long n = 1;
    size_t count;
    int ret;

    free(row);
    do {
        struct err err = {0};

        fail_alloc(n, false);
        ret = state_table_parse("file", text, strlen(text), &again, &count, &err);
        if (!fail_alloc_end()) {
            n = 0;
        }
        assert_int_equal(ret, n > 0 ? -ENOMEM : 0);
    } while (n++ > 0);
    free(again);
    free(text);
}

static void text_that_is_not_utf8_makes_no_row(void **state)
{
    struct disk_record record = record_of("vda");
    struct err err = {0};

    strcpy(record.config.socket, "/run/\xff/vda.sock");
    assert_null(state_table_row(&record, &err));
    assert_int_equal(err.code, -EILSEQ);
    assert_non_null(strstr(err.text, "vda"));
}

/* What would be refused at the next start is not written. */
static void record_that_does_not_come_back_makes_no_row(void **state)
{
    struct disk_record record = record_of("vda");
    struct err err = {0};

    record.config.socket[0] = '\0';
    assert_null(state_table_row(&record, &err));
    assert_non_null(strstr(err.text, "config.socket: is missing"));
    record = record_of("vda");
    record.physical_block = 256;
    assert_null(state_table_row(&record, &err));
    assert_non_null(strstr(err.text, "physical_block_size"));
}

static void failure_to_write_is_told(void **state)
{
    struct bench *b = *state;
    char new_name[128];

    (void)snprintf(new_name, sizeof(new_name), "%s.new", b->file);
    assert_int_equal(mkdir(new_name, 0700), 0);
    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    assert_int_equal(save(b, NULL, 0), -EISDIR);
    assert_non_null(strstr(b->save.err.text, b->file));
    stop(b);
}

/* What was begun is not left to fill the file system. */
static void failure_to_write_leaves_nothing(void **state)
{
    struct bench *b = *state;
    char new_name[128];
    struct stat st;

    (void)snprintf(new_name, sizeof(new_name), "%s.new", b->file);
    assert_int_equal(mkdir(b->file, 0700), 0); /* rename fails */
    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    assert_int_equal(save(b, NULL, 0), -EISDIR);
    assert_int_equal(stat(new_name, &st), -1);
    stop(b);
}

static void second_owner_is_refused(void **state)
{
    struct bench *b = *state;
    struct state *other;
    struct err err = {0};

    assert_int_equal(state_open(&other, b->control.dir, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, b->control.dir));
    state_free(b->state);
    assert_int_equal(state_open(&b->state, b->control.dir, &err), 0);
    state_free(b->state);
}

/* The file of the lock is a file, and can be deleted. */
static void second_owner_is_refused_though_the_lock_file_is_gone(void **state)
{
    struct bench *b = *state;
    struct state *other;
    struct err err = {0};
    char lock[96];

    (void)snprintf(lock, sizeof(lock), "%s/lock", b->control.dir);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(state_open(&other, b->control.dir, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "in use by another vblkd"));
    state_free(b->state);
    assert_int_equal(state_open(&b->state, b->control.dir, &err), 0);
    state_free(b->state);
}

static void write_file(struct bench *b, const char *text)
{
    FILE *file = fopen(b->file, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void assert_file_refused(struct bench *b, const char *text, const char *why)
{
    struct disk_record *records;
    size_t count;
    struct err err = {0};

    write_file(b, text);
    assert_int_equal(state_read(b->state, &records, &count, &err), -EINVAL);
    if (!strstr(err.text, why) || !strstr(err.text, b->file)) {
        print_error("%s\n  was refused with: %s\n", text, err.text);
        fail();
    }
}

static void damaged_files_are_refused_with_the_place(void **state)
{
    struct bench *b = *state;

    assert_file_refused(b, "", "damaged: line 1");
    assert_file_refused(b, "{\"version\":1,\n\"disks\":[", "damaged: line 2");
    assert_file_refused(b, "[]", "no version");
    assert_file_refused(b, "{\"version\":1}", "members");
    assert_file_refused(b, "{\"version\":1,\"disks\":[],\"more\":1}", "members");
    assert_file_refused(b, "{\"version\":1,\"disks\":[7]}", "disks[0]: is not an object");
    assert_file_refused(b, "{\"version\":1,\"disks\":[{\"config\":{}}]}",
                        "disks[0]: config.name: is missing");
    assert_file_refused(b, "{\"version\":1,\"version\":1,\"disks\":[]}", "damaged: line 1");
    state_free(b->state);
}

/* A row of one disk; `from`, which is in it once, is replaced by `to`. */
static char *spoiled_row(const char *from, const char *to)
{
    static const char row[] =
        "{\"config\":{\"name\":\"vda\",\"image\":{\"type\":\"file\",\"path\":\"/img\"},"
        "\"readonly\":true,\"serial\":\"vda\",\"queues\":16,\"queue_size\":1024,"
        "\"logical_block_size\":0,\"physical_block_size\":4096,\"threads\":2,"
        "\"socket\":\"/run/vda.sock\"},\"stopped\":false,\"geometry\":{\"size\":1048576,"
        "\"logical_block_size\":512,\"physical_block_size\":4096,\"opt_io_size\":0}}";
    const char *at = strstr(row, from);
    char *text = NULL;

    assert_non_null(at);
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - row), row, to, at + strlen(from)) > 0);
    return text;
}

static void assert_row_refused(struct bench *b, const char *from, const char *to, const char *why)
{
    char *row = spoiled_row(from, to);
    char *text = NULL;

    assert_true(asprintf(&text, "{\"version\":1,\"disks\":[%s]}", row) > 0);
    assert_file_refused(b, text, why);
    free(row);
    free(text);
}

static void each_value_of_a_row_is_checked(void **state)
{
    struct bench *b = *state;

    assert_row_refused(b, "\"queues\":16", "\"queues\":65",
                       "disks[0]: config.queues: 65 is out of range");
    assert_row_refused(b, "\"queue_size\":1024", "\"queue_size\":1000", "power of two");
    assert_row_refused(b, "\"threads\":2", "\"threads\":17", "disks[0]: config.threads: 17");
    assert_row_refused(b, "\"readonly\":true", "\"readonly\":false,\"discard_granularity\":4096",
                       "its discard_block_size is not that of config");
    assert_row_refused(b, "\"queues\":16", "\"queues\":2,\"max_discard_segments\":0",
                       "config.max_discard_segments: 0");
    assert_row_refused(b, "\"queues\":16", "\"queues\":2,\"geometry\":\"100,8,32\"",
                       "cylinders, heads and sectors are not those of config");
    assert_row_refused(b, "\"queues\":16", "\"queues\":2,\"geometry\":\"100,8\"",
                       "geometry: \"100,8\" is not cylinders,heads,sectors");
    assert_row_refused(b, "\"queues\":16", "\"queues\":2,\"poll_us\":-1", "poll_us: -1");
    assert_row_refused(b, "\"queues\":16", "\"queues\":2,\"more\":1", "unknown member \"more\"");
    assert_row_refused(b, "\"/run/vda.sock\"", "\"vda.sock\"",
                       "socket: \"vda.sock\" is not absolute");
    assert_row_refused(b, "\"path\":\"/img\"", "\"path\":\"img\"", "image.path");
    assert_row_refused(b, "\"name\":\"vda\"", "\"name\":\"../vda\"", "name");
    assert_row_refused(b, "\"stopped\":false", "\"stopped\":0", "stopped: must be a boolean");
    assert_row_refused(b, "\"size\":1048576", "\"size\":1048577", "no multiple");
    assert_row_refused(b, "\"size\":1048576", "\"size\":0", "empty");
    assert_row_refused(b, "\"size\":1048576", "\"size\":-512", "geometry.size: -512");
    assert_row_refused(b, "\"opt_io_size\":0", "\"opt_io_size\":4294967296", "opt_io_size");
    assert_row_refused(b, "\"opt_io_size\":0", "\"min_io_size\":-1", "min_io_size");
    assert_row_refused(b, "\"opt_io_size\":0", "\"min_io_size\":1000", "smallest I/O size 1000");
    assert_row_refused(b, "\"opt_io_size\":0", "\"heads\":256", "geometry.heads");
    assert_row_refused(b, "\"opt_io_size\":0", "\"heads\":16", "16 heads and 0 sectors");
    assert_row_refused(b, "\"opt_io_size\":0", "\"alignment_offset\":4096",
                       "alignment offset 4096");
    assert_row_refused(b, "\"logical_block_size\":512", "\"logical_block_size\":768",
                       "768 is not a power of two");
    state_free(b->state);
}

/* A disk that has neither discards nor a geometry, and is read-only. */
static void refuse_shown(struct bench *b, const char *members, const char *why)
{
    char to[256];

    (void)snprintf(to, sizeof(to), "\"stopped\":false,\"shown\":{%s}", members);
    assert_row_refused(b, "\"stopped\":false", to, why);
}

static void what_was_shown_must_suit_the_disk(void **state)
{
    struct bench *b = *state;

    refuse_shown(b, "\"features\":-1", "shown.features: -1");
    refuse_shown(b, "\"features\":4,\"seg_max\":126",
                 "the features 0x4 are not those of a disk with such");
    refuse_shown(b, "\"features\":8224,\"seg_max\":126", "the features 0x2020 are not those");
    refuse_shown(b, "\"features\":34,\"seg_max\":126", "the features 0x22 are not those");
    refuse_shown(b, "\"features\":32,\"seg_max\":126,\"size_max\":4096", "are not those");
    refuse_shown(b, "\"features\":32,\"seg_max\":0", "up to 0 segments, discards of 0 by 0");
    refuse_shown(b, "\"features\":32,\"seg_max\":1025", "up to 1025 segments");
    refuse_shown(b, "\"features\":32,\"seg_max\":1,\"max_discard_seg\":1", "discards of 1 by 0");
    refuse_shown(b, "\"features\":32,\"more\":1", "unknown member \"more\"");
    state_free(b->state);
}

/* A physical block below the logical one was undefined behaviour. */
static void values_of_a_row_must_suit_each_other(void **state)
{
    struct bench *b = *state;

    assert_row_refused(b, "\"physical_block_size\":4096,\"opt", "\"physical_block_size\":512,\"opt",
                       "block sizes are not those of config");
    assert_row_refused(b, "\"queues\":16", "\"queues\":1",
                       "disks[0]: threads: 2 are more than the 1 queue");
    assert_row_refused(b, "512,\"physical_block_size\":4096", "8192,\"physical_block_size\":4096",
                       "physical block size 4096 is no power of two between the logical");
    assert_row_refused(b, "\"logical_block_size\":0", "\"logical_block_size\":4096",
                       "block sizes are not those of config");
    assert_row_refused(b, "\"queues\":16", "\"queues\":2,\"poll_us\":3,\"engine\":\"tea\"",
                       "config.engine");
    state_free(b->state);
}

static void row_that_has_lost_a_member_is_refused(void **state)
{
    struct bench *b = *state;

    assert_row_refused(b, "\"readonly\":true,", "", "disks[0]: config.readonly: is missing");
    assert_row_refused(b, "\"serial\":\"vda\",", "", "config.serial: is missing");
    assert_row_refused(b, ",\"socket\":\"/run/vda.sock\"", "", "config.socket: is missing");
    assert_row_refused(b, "\"queues\":16,", "", "config.queues: is missing");
    assert_row_refused(b, "\"queue_size\":1024,", "", "config.queue_size: is missing");
    assert_row_refused(b, "\"stopped\":false,", "", "stopped: is missing");
    assert_row_refused(b, "\"size\":1048576,", "", "geometry.size: is missing");
    state_free(b->state);
}

static void twins_are_refused(void **state)
{
    struct bench *b = *state;
    char *first = spoiled_row("{", "{");
    char *named = spoiled_row("/run/vda.sock", "/run/vdb.sock");
    char *placed = spoiled_row("\"name\":\"vda\"", "\"name\":\"vdb\"");
    char *text = NULL;

    assert_true(asprintf(&text, "{\"version\":1,\"disks\":[%s,%s]}", first, named) > 0);
    assert_file_refused(b, text, "damaged: two disks are named \"vda\"");
    free(text);
    assert_true(asprintf(&text, "{\"version\":1,\"disks\":[%s,%s]}", first, placed) > 0);
    assert_file_refused(b, text, "have the same socket");
    free(text);
    free(first);
    free(named);
    free(placed);
    state_free(b->state);
}

/* Written before there were settings. */
static void settings_that_an_old_file_lacks_have_their_defaults(void **state)
{
    struct bench *b = *state;
    struct disk_record *records;
    size_t count;

    write_file(b, "{\"version\":1,\"disks\":[{\"config\":{\"name\":\"vda\",\"image\":"
                  "{\"type\":\"file\",\"path\":\"/img\",\"cache\":\"none\",\"create\":false,"
                  "\"size\":0,\"delay_ms\":0},\"readonly\":false,\"serial\":\"vda\",\"queues\":16,"
                  "\"queue_size\":1024,\"logical_block_size\":0,\"physical_block_size\":0,"
                  "\"socket\":\"/run/vda.sock\"},\"stopped\":false,\"geometry\":{\"size\":1048576,"
                  "\"logical_block_size\":512,\"physical_block_size\":4096,\"opt_io_size\":0}}]}");
    assert_int_equal(state_read(b->state, &records, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(records[0].config.settings.engine, "auto");
    assert_string_equal(records[0].config.settings.huge_bounce, "auto");
    assert_string_equal(records[0].config.settings.queue_threads, "auto");
    assert_string_equal(records[0].config.settings.cpus, "all");
    assert_string_equal(records[0].config.socket_mode, "0600");
    assert_int_equal(records[0].config.socket_owner, -1);
    assert_int_equal(records[0].config.socket_group, -1);
    assert_string_equal(records[0].config.socket_label, "");
    assert_string_equal(records[0].config.settings.detect_zeroes, "off");
    assert_string_equal(records[0].config.settings.on_read_error, "report");
    assert_string_equal(records[0].config.settings.on_write_error, "enospc");
    assert_string_equal(records[0].config.settings.group, "none");
    assert_false(rates_has_any(&records[0].config.settings.rates));
    assert_int_equal(records[0].config.settings.rates.of[RATE_BPS].seconds, 1);
    assert_string_equal(records[0].config.config_wce, "on");
    assert_string_equal(records[0].config.in_order, "off");
    assert_string_equal(records[0].config.packed, "off"); /* its guest was shown none */
    assert_false(records[0].is_writethrough);
    assert_int_equal(records[0].shown.features, 0);
    assert_int_equal(records[0].config.settings.poll_us, DEVICE_POLL_US_DEFAULT);
    assert_int_equal(records[0].config.settings.poll_cpu, DEVICE_POLL_CPU_DEFAULT);
    assert_int_equal(records[0].config.settings.threads, 1);
    free(records);
    state_free(b->state);
}

static void newer_files_are_refused_and_stay(void **state)
{
    struct bench *b = *state;

    assert_file_refused(b, "{\"version\":3,\"disks\":[]}",
                        "was written by a newer vblkd: it has version 3");
    assert_int_equal(access(b->file, F_OK), 0);
    assert_file_refused(b, "{\"version\":0,\"disks\":[]}",
                        "damaged: it has a version that there never was");
    state_free(b->state);
}

/* As of a build between two releases, or of a hand that mistyped. */
static void members_that_nobody_knows_are_told_from_damage(void **state)
{
    struct bench *b = *state;

    assert_row_refused(
        b, "\"queues\":16", "\"queues\":16,\"colour\":\"red\"",
        "is of another build of vblkd, or edited: disks[0]: config: unknown member \"colour\"");
    assert_row_refused(
        b, "\"stopped\":false", "\"stopped\":false,\"paused\":true",
        "is of another build of vblkd, or edited: disks[0]: unknown member \"paused\"");
    state_free(b->state);
}

static char *file_text(const char *path)
{
    static char text[8192];
    FILE *file = fopen(path, "r");
    size_t len;

    if (!file) {
        return NULL;
    }
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    assert_int_equal(fclose(file), 0);
    return text;
}

/* For who goes back to it. */
static void table_of_an_older_version_is_kept_once(void **state)
{
    struct bench *b = *state;
    struct disk_record record = record_of("vda");
    struct disk_record *records;
    size_t count;
    char old[sizeof(b->file) + 8];

    (void)snprintf(old, sizeof(old), "%s.1", b->file);
    write_file(b, "{\"version\":1,\"disks\":[]}");
    assert_int_equal(state_read(b->state, &records, &count, NULL), 0);
    free(records);
    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    assert_int_equal(save(b, &record, 1), 0);
    assert_string_equal(file_text(old), "{\"version\":1,\"disks\":[]}");
    assert_int_equal(unlink(old), 0);
    assert_int_equal(save(b, &record, 1), 0);
    assert_null(file_text(old));
    assert_non_null(strstr(file_text(b->file), "{\"version\":2,"));
    stop(b);
}

/* FNV-1a. */
static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u;

    while (*text) {
        hash = (hash ^ (uint8_t)*text++) * 16777619u;
    }
    return hash;
}

static void add_members(json_t *object, const char *where, uint32_t *sum)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        char place[256];

        (void)snprintf(place, sizeof(place), "%s.%s", where, name);
        *sum += hash_of(place); /* in whatever order */
        add_members(value, place, sum);
    }
}

#define MEMBERS 0xa0296a24u

/* A vblkd that does not know all of them must be told so by the version. */
static void members_of_this_version_are_these(void **state)
{
    struct disk_record record = record_of("vda");
    char *row = state_table_row(&record, NULL);
    json_t *object = json_loads(row, 0, NULL);
    uint32_t sum = 0;

    (void)state;
    add_members(object, "", &sum);
    if (sum != MEMBERS) {
        print_error(
            "there are other members than there were, with the sum 0x%08x: raise STATE_VERSION "
            "unless that was done since the last release, say there what is new, and put the "
            "sum here\n",
            (unsigned)sum);
    }
    assert_int_equal(sum, MEMBERS);
    json_decref(object);
    json_memory_free(row);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    json_memory_install();
    const struct CMUnitTest tests[] = {
        bench_test(without_a_file_there_are_no_disks),
        bench_test(what_is_saved_is_read_again),
        bench_test(file_is_replaced_and_never_written_in_place),
        cmocka_unit_test(empty_disk_has_no_byte_when_it_comes_back),
        cmocka_unit_test(table_without_a_row_is_not_made),
        cmocka_unit_test(row_of_before_says_nothing_of_the_image),
        cmocka_unit_test(image_is_known_again_in_the_same_boot_alone),
        cmocka_unit_test(no_allocation_that_fails_makes_a_wrong_table),
        cmocka_unit_test(no_allocation_that_fails_is_told_as_damage),
        cmocka_unit_test(text_that_is_not_utf8_makes_no_row),
        cmocka_unit_test(record_that_does_not_come_back_makes_no_row),
        bench_test(failure_to_write_is_told),
        bench_test(failure_to_write_leaves_nothing),
        bench_test(second_owner_is_refused),
        bench_test(second_owner_is_refused_though_the_lock_file_is_gone),
        bench_test(damaged_files_are_refused_with_the_place),
        bench_test(each_value_of_a_row_is_checked),
        bench_test(values_of_a_row_must_suit_each_other),
        bench_test(what_was_shown_must_suit_the_disk),
        bench_test(row_that_has_lost_a_member_is_refused),
        bench_test(twins_are_refused),
        bench_test(settings_that_an_old_file_lacks_have_their_defaults),
        bench_test(newer_files_are_refused_and_stay),
        bench_test(members_that_nobody_knows_are_told_from_damage),
        bench_test(table_of_an_older_version_is_kept_once),
        cmocka_unit_test(members_of_this_version_are_these),
    };

    return unit_run(tests);
}
