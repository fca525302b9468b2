/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/state.h"
#include "daemon/state_table.h"
#include "tests/unit/control_world.h"

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
        rows[i] = state_table_row(&records[i]);
    }
    b->save.done = on_saved;
    state_save(b->state, (const char *const *)rows, count, &b->save);
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
    struct disk_record record = {
        .size = 1 << 20, .logical_block = 512, .physical_block = 4096, .is_stopped = true};

    (void)snprintf(record.config.name, sizeof(record.config.name), "%s", name);
    (void)snprintf(record.config.socket, sizeof(record.config.socket), "/run/%s.sock", name);
    (void)snprintf(record.config.serial, sizeof(record.config.serial), "%s", name);
    (void)snprintf(record.config.image.type, sizeof(record.config.image.type), "file");
    (void)snprintf(record.config.image.path, sizeof(record.config.image.path), "/img/%s", name);
    (void)snprintf(record.config.image.cache, sizeof(record.config.image.cache), "none");
    record.config.settings.poll_us = 0;
    record.config.settings.poll_cpu = 25;
    record.config.settings.threads = 2;
    (void)snprintf(record.config.settings.engine, sizeof(record.config.settings.engine), "aio");
    record.config.queues = 3;
    record.config.queue_size = 128;
    return record;
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
    before[1].config.readonly = true;
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

/* Without memory for one disk, the table with all of them stays. */
static void table_without_a_row_is_not_written(void **state)
{
    struct bench *b = *state;
    struct disk_record record = record_of("vda");
    const char *const rows[] = {NULL};
    struct disk_record *after;
    size_t count;

    assert_int_equal(state_start(b->state, &b->control.mailbox, NULL), 0);
    assert_int_equal(save(b, &record, 1), 0);
    state_save(b->state, rows, 1, &b->save);
    wait_done(b);
    assert_int_equal(b->save.err.code, -ENOMEM);
    assert_int_equal(state_read(b->state, &after, &count, NULL), 0);
    assert_int_equal(count, 1);
    free(after);
    stop(b);
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
                        "disks[0].config.name: is missing");
    assert_file_refused(b, "{\"version\":1,\"version\":1,\"disks\":[]}", "damaged: line 1");
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
    assert_int_equal(records[0].config.settings.poll_us, DEVICE_POLL_US_DEFAULT);
    assert_int_equal(records[0].config.settings.poll_cpu, DEVICE_POLL_CPU_DEFAULT);
    assert_int_equal(records[0].config.settings.threads, 1);
    free(records);
    state_free(b->state);
}

static void newer_files_are_refused_and_stay(void **state)
{
    struct bench *b = *state;

    assert_file_refused(b, "{\"version\":2,\"disks\":[]}", "version 2");
    assert_int_equal(access(b->file, F_OK), 0);
    state_free(b->state);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        bench_test(without_a_file_there_are_no_disks),
        bench_test(what_is_saved_is_read_again),
        bench_test(file_is_replaced_and_never_written_in_place),
        bench_test(table_without_a_row_is_not_written),
        bench_test(failure_to_write_is_told),
        bench_test(second_owner_is_refused),
        bench_test(damaged_files_are_refused_with_the_place),
        bench_test(settings_that_an_old_file_lacks_have_their_defaults),
        bench_test(newer_files_are_refused_and_stay),
    };

    return unit_run(tests);
}
