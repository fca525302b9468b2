/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/unit.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/device/lane_refusal.h"

/* Two rings of a disk that nobody runs, and what is logged about them. */
struct world {
    struct lane_view view;
    struct queue queue[2];
    struct lane lane;
    struct request request;
    int saved_fd;
    int fd;
    char text[8192];
};

static int world_start(void **state)
{
    static struct world world;

    memset(&world, 0, sizeof(world));
    world.view.name = "vda";
    world.view.blk.opts = (struct blk_opts){.capacity = 1 << 20, .logical_block = 4096};
    for (unsigned i = 0; i < 2; i++) {
        queue_init(&world.queue[i], &world.view, i, &world.lane);
    }
    world.request = (struct request){
        .type = VIRTIO_BLK_T_IN, .io = {.offset = 2040, .length = 8192}, .chain = {.fault = "so"}};
    world.fd = memfd_create("stderr", MFD_CLOEXEC);
    world.saved_fd = dup(STDERR_FILENO);
    assert(world.fd >= 0 && world.saved_fd >= 0);
    dup2(world.fd, STDERR_FILENO);
    log_set_level(LOG_LEVEL_INFO);
    *state = &world;
    return 0;
}

static int world_stop(void **state)
{
    struct world *w = *state;

    dup2(w->saved_fd, STDERR_FILENO);
    close(w->saved_fd);
    close(w->fd);
    return 0;
}

/* The line that it makes, "" when it makes none. */
static const char *tell(struct world *w, unsigned ring, enum refusal why)
{
    ssize_t len;

    assert_int_equal(ftruncate(w->fd, 0), 0);
    assert_int_equal(lseek(w->fd, 0, SEEK_SET), 0);
    w->request.refusal = (uint8_t)why;
    lane_tell_refusal(&w->queue[ring], &w->request);
    len = pread(w->fd, w->text, sizeof(w->text) - 1, 0);
    assert_true(len >= 0);
    w->text[len] = '\0';
    return w->text;
}

static void each_kind_says_what_was_asked_and_why_not(void **state)
{
    static const char *const says[REFUSAL_NONE] = {
        [REFUSAL_CHAIN] = "a request whose chain is faulty (so)",
        [REFUSAL_HEADER] = "a request has no whole header",
        [REFUSAL_DIRECTION] = "a read has a buffer that goes the other way",
        [REFUSAL_READONLY] = "a write to a disk that is read-only",
        [REFUSAL_LENGTH] = "a read of 8192 bytes at sector 2040 is longer than 1073741824 bytes",
        [REFUSAL_ALIGN] = "a read of 8192 bytes at sector 2040 is not in whole blocks of 4096",
        [REFUSAL_RANGE] = "a read of 8192 bytes at sector 2040 lies past the end (capacity 2048)",
        [REFUSAL_ID] = "a request for the serial number has no room for it",
        [REFUSAL_TYPE] = "a request of type 0, which the disk does not have",
        [REFUSAL_RANGES] = "a read has no segments that are whole, or more than 16384",
        [REFUSAL_FLAGS] = "a read has a segment with flags that it does not have",
    };
    struct world *w = *state;

    for (unsigned why = 0; why < REFUSAL_NONE; why++) {
        const char *line;

        memset(&w->lane.refusal_log, 0, sizeof(w->lane.refusal_log));
        line = tell(w, 0, why);
        assert_non_null(strstr(line, "vda: ring 0: "));
        assert_non_null(strstr(line, says[why]));
        assert_non_null(strstr(line, ": the guest gets an I/O error; later ones like it are only "
                                     "counted\n"));
    }
}

static void each_kind_is_told_once_for_each_ring(void **state)
{
    struct world *w = *state;

    assert_string_not_equal(tell(w, 0, REFUSAL_RANGE), "");
    assert_string_equal(tell(w, 0, REFUSAL_RANGE), "");
    assert_string_not_equal(tell(w, 0, REFUSAL_TYPE), "");
    assert_string_not_equal(tell(w, 1, REFUSAL_RANGE), "");
    assert_string_equal(tell(w, 1, REFUSAL_RANGE), "");
}

static void assert_named(struct world *w, uint32_t type, const char *what)
{
    w->queue[0].refusals_told = 0;
    memset(&w->lane.refusal_log, 0, sizeof(w->lane.refusal_log));
    w->request.type = type;
    assert_non_null(strstr(tell(w, 0, REFUSAL_TYPE), what));
}

static void types_that_are_known_are_named(void **state)
{
    struct world *w = *state;

    assert_named(w, 2, "a request of type 2 (SCSI command), which");
    assert_named(w, 3, "a request of type 3 (SCSI command), which");
    assert_named(w, 10, "a request of type 10 (GET_LIFETIME), which");
    assert_named(w, VIRTIO_BLK_T_DISCARD, "a request of type 11 (DISCARD), which");
    assert_named(w, VIRTIO_BLK_T_SECURE_ERASE, "a request of type 14 (SECURE_ERASE), which");
    assert_named(w, 16, "a request of type 16 (ZONE_REPORT), which");
    assert_named(w, 0x80000001, "a request of type 2147483649 (a legacy barrier), which");
    assert_named(w, 99, "a request of type 99, which");
}

/* A guest may start its rings anew all the time. */
static void limit_leaves_out_what_is_told_later(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < LOG_LIMIT_LINES; i++) {
        w->queue[0].refusals_told = 0;
        assert_string_not_equal(tell(w, 0, REFUSAL_RANGE), "");
    }
    assert_string_equal(tell(w, 0, REFUSAL_TYPE), "");
    w->lane.refusal_log.window_start_ns -= 2 * LOG_LIMIT_WINDOW_MS * NS_PER_MS;
    assert_non_null(strstr(tell(w, 0, REFUSAL_TYPE), "which the disk does not have"));
    assert_string_equal(tell(w, 0, REFUSAL_TYPE), "");
}

#define in_world(test) cmocka_unit_test_setup_teardown(test, world_start, world_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(each_kind_says_what_was_asked_and_why_not),
        in_world(each_kind_is_told_once_for_each_ring),
        in_world(types_that_are_known_are_named),
        in_world(limit_leaves_out_what_is_told_later),
    };

    return unit_run(tests);
}
